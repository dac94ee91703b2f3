"""UnionPay's response codes, in UnionPay's own words.

Source: UnionPay ACP 5.1.0, appendix of response codes.
"""

from __future__ import annotations

DONE = "00"
DONE_WITH_DEFECTS = "A6"
TIMED_OUT = "03"
UNKNOWN = "04"
ACCEPTED = "05"
BUSY = "06"
BAD_FORM = "10"
BAD_SIGNATURE = "11"
DUPLICATE = "12"
MISSING = "13"
FAILED = "30"
BAD_MERCHANT = "31"
NO_RIGHT = "32"
NOT_FOUND = "34"
BAD_ORIGINAL = "35"
MISMATCH = "36"
TOO_LATE = "42"
GIVEN_BACK = "45"
NOT_ENTERED = "69"
REVERSED = "46"
CODE_IS_OVER = "86"
NO_SUCH_CODE = "88"
NO_FILE = "98"

WORDS = {
    DONE: "成功",
    "01": "交易失败",
    "02": "系统未开放或暂时关闭，请稍后再试",
    TIMED_OUT: "交易通讯超时，请发起查询交易",
    UNKNOWN: "交易状态未明，请查询对账结果",
    ACCEPTED: "交易已受理，请稍后查询交易结果",
    BUSY: "系统繁忙，请稍后再试",
    BAD_FORM: "报文格式错误",
    BAD_SIGNATURE: "验证签名失败",
    DUPLICATE: "重复交易",
    MISSING: "报文交易要素缺失",
    FAILED: "交易未通过，请尝试使用其他银联卡支付",
    BAD_MERCHANT: "商户状态不正确",
    NO_RIGHT: "无此交易权限",
    "33": "交易金额超限",
    NOT_FOUND: "查无此交易",
    BAD_ORIGINAL: "原交易不存在或状态不正确",
    MISMATCH: "与原交易信息不符",
    "37": "已超过最大查询次数或操作过于频繁",
    "38": "风险受限",
    "39": "交易不在受理时间范围内",
    TOO_LATE: "扣款成功但交易超过规定支付时间",
    GIVEN_BACK: "原交易已被成功撤销或退货",
    REVERSED: "交易已被冲正",
    "60": "交易失败，详情请咨询您的发卡行",
    "64": "卡上的余额不足",
    "67": "密码输入次数超限",
    CODE_IS_OVER: "二维码状态不正确，请刷新付款码",
    NO_SUCH_CODE: "无此二维码",
    NOT_ENTERED: "交易超时，请重新支付",
    NO_FILE: "文件不存在",
    "99": "通用错误",
    DONE_WITH_DEFECTS: "有缺陷的成功",
}

# What the shopper's wallet says no for.
OF_FAILURE = {"balance": "64", "risk": "38", "password": "67"}


class Refusal(Exception):
    """A definite answer other than success: the code, and what it is about."""

    def __init__(self, code: str, about: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.about = about

    def fields(self) -> dict[str, str]:
        """The answer's ``respCode`` and ``respMsg``."""
        return result(self.code, self.about)


def words(code: str, about: str = "") -> str:
    """``("00") -> "成功[0000000]"``, ``("13", "merId") -> "报文交易要素缺失[merId][9100013]"``.  Pure."""
    detail = "0000000" if code == DONE else f"91000{code}"
    return WORDS.get(code, "通用错误") + (f"[{about}]" if about else "") + f"[{detail}]"


def result(code: str, about: str = "") -> dict[str, str]:
    """``respCode`` and ``respMsg``.  Pure."""
    return {"respCode": code, "respMsg": words(code, about)}
