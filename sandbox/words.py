"""The sandbox's two languages: which one a visitor reads, and every sentence in both."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response, g, request

LANGUAGES = ("zh", "en")
_COOKIE = "sandbox_lang"

# Chinese first, then English.
WORDS = {
    "sandbox_bar": ("SANDBOX 沙箱 · 没有真钱", "SANDBOX 沙箱 · no real money"),
    "other_language": ("English", "中文"),
    "cashier": ("收银台", "Cashier"),
    "pay_to": ("付款给", "Pay to"),
    "amount": ("金额", "Amount"),
    "order": ("商品", "For"),
    "number": ("商户订单号", "Order number"),
    "pay_with": ("付款方式", "Paying with"),
    "balance": ("演示余额（沙箱）", "Demo balance (sandbox)"),
    "approve": ("确认付款", "Approve payment of"),
    "decline": ("拒绝（余额不足）", "Decline (insufficient funds)"),
    "cancel": ("取消", "Cancel"),
    "phase_paid": ("付款成功", "Payment successful"),
    "phase_closed": ("交易已关闭", "This payment is closed"),
    "phase_closed_more": ("没有扣款。", "Nothing was charged."),
    "phase_processing": ("正在处理，请勿重复付款", "Processing, please do not pay again"),
    "left": ("您离开了付款，没有扣款。", "You left the payment; nothing was charged."),
    "failed_balance": ("余额不足，没有扣款。", "Insufficient funds; nothing was charged."),
    "failed_risk": ("风险控制拒绝，没有扣款。", "Refused by risk control; nothing was charged."),
    "failed_password": ("密码错误，没有扣款。", "Wrong password; nothing was charged."),
    "back_to_shop": ("返回商家", "Back to the shop"),
    "unknown_code": ("没有这个二维码", "There is no such code"),
    "unknown_code_more": ("请向商家要一个新的二维码。", "Ask the shop for a new code."),
    "expired_code": ("二维码已失效", "This code has expired"),
    "expired_code_more": (
        "没有扣款，请向商家要新的二维码。",
        "Nothing was charged. Ask the shop for a new code.",
    ),
    "unknown_action": ("无法识别的操作", "Unknown action"),
    "unknown_action_more": ("没有扣款。", "Nothing was charged."),
    "refused": ("网络拒绝了这个请求", "The network refused this request"),
    "refused_more": ("没有扣款。给开发者的说明：", "Nothing was charged. For developers:"),
    "pay_code": ("付款码", "Payment code"),
    "which_wallet": ("打开哪个钱包？", "Which wallet?"),
    "pay_code_more": (
        "请让收银员扫码，或输入数字。剩余",
        "Let the cashier scan it, or type the digits. Good for",
    ),
    "pay_code_over": ("付款码已过期", "This code has expired"),
    "pay_code_fresh": ("刷新付款码", "A fresh code"),
    "panel": ("沙箱控制台", "Sandbox control panel"),
    "panel_more": (
        "支付网络的另一端：商户应用、交易、异步通知和故障开关。",
        "The far side of the payment networks: apps, trades, notifications and levers.",
    ),
    "trades": ("交易", "Trades"),
    "no_trades": ("还没有交易。", "No trades yet."),
    "state": ("状态", "State"),
    "state_offered": ("等待扫码", "not opened yet"),
    "state_withdrawn": ("已撤回", "withdrawn"),
    "state_waiting": ("等待付款", "waiting for the shopper"),
    "state_closed": ("已关闭", "closed"),
    "state_paid": ("已付款", "paid"),
    "state_finished": ("已完结", "finished"),
    "refund_done": ("已退款", "refunded"),
    "refund_pending": ("退款处理中", "refund pending"),
    "refund_closed": ("退款关闭", "refund closed"),
    "refund_abnormal": ("退款异常", "refund stuck"),
    "notifications": ("异步通知", "Notifications"),
    "kind_paid": ("付款", "paid"),
    "kind_closed": ("关闭", "closed"),
    "kind_refunded": ("退款", "refunded"),
    "kind_waiting": ("等待付款", "waiting"),
    "kind_refund_closed": ("退款关闭", "refund failed"),
    "kind_refund_abnormal": ("退款异常", "refund stuck"),
    "kind_finished": ("完结", "finished"),
    "note_pending": ("待发送", "to be sent"),
    "note_delivered": ("已送达", "delivered"),
    "note_exhausted": ("已放弃", "given up"),
    "shopper_does": ("操作", "Act"),
    "do_pay": ("付款", "Pay"),
    "do_decline": ("拒绝", "Decline"),
    "do_close": ("关闭", "Close"),
    "do_notify": ("重发通知", "Notify again"),
    "do_open": ("只扫码", "Only scan"),
    "do_late": ("关闭后付款", "Pay after closing"),
    "do_finish": ("结束退款期", "End the refund window"),
    "do_forge": ("发送伪造通知", "Send forged news"),
    "more": ("更多", "More"),
    "other_amount": ("实付金额（元）", "Another amount (yuan)"),
    "forgery": ("伪造方式", "Forgery"),
    "levers": ("故障开关", "Levers"),
    "levers_more": (
        "开关可作用于下一笔、指定的一笔或所有付款。",
        "A lever bends the next payment, one payment, or every payment.",
    ),
    "lever": ("开关", "Lever"),
    "value": ("值", "Value"),
    "value_default": ("默认", "default"),
    "scope": ("范围", "Scope"),
    "scope_next": ("下一笔", "next payment"),
    "scope_trade": ("指定订单", "one payment"),
    "scope_always": ("所有", "every payment"),
    "only_number": ("只对这个订单号", "Only this order number"),
    "only_call": ("只对这个接口", "Only this call"),
    "times": ("次数", "Times"),
    "pull": ("打开", "Pull"),
    "release": ("关掉", "Release"),
    "times_left": ("剩余次数", "Times left"),
    "magic": ("特殊金额", "Magic amounts"),
    "lever_approve": ("扫码后自动付款", "Approve without asking"),
    "lever_decline": ("拒绝付款", "Decline"),
    "lever_close": ("付款时交易关闭", "Close on approval"),
    "lever_slow_payment": ("延迟入账，其间 USERPAYING（秒）", "USERPAYING, then paid (s)"),
    "lever_password": ("付款码支付需输入密码", "A payment code asks for the password"),
    "lever_pay_first": ("撤销前一刻付款", "Paid the moment before a reversal"),
    "lever_wrong_amount": ("实付金额不符", "Wrong amount is paid"),
    "lever_late": ("关闭后仍收款（秒）", "Money comes after closing (s)"),
    "lever_delay": ("通知延迟（秒）", "Notifications come late (s)"),
    "lever_drop": ("通知丢失", "Notifications are lost"),
    "lever_duplicate": ("通知重复", "Notifications are duplicated"),
    "lever_reorder": ("通知乱序", "Notifications out of order"),
    "lever_forge": ("通知被伪造", "Notifications are forged"),
    "lever_rotate": ("付款后更换网络密钥", "The network changes keys on payment"),
    "lever_hang": ("超时后成功：生效而不应答（秒）", "Timeout, then success: no answer (s)"),
    "lever_server_error": ("生效后网关报 5xx", "Gateway takes effect, answers 5xx"),
    "lever_outage": ("网关故障，未生效", "Gateway is down, no effect"),
    "lever_gateway_error": ("网关错误码，未生效", "Gateway error code, no effect"),
    "lever_forge_answer": ("网关应答签名错误", "Gateway answer is badly signed"),
    "lever_query_error": ("查询报系统错误", "Queries answer SYSTEM_ERROR"),
    "lever_refund_fail": ("退款失败", "Refunds fail"),
    "lever_refund_pending": ("退款处理中（秒）", "Refunds stay pending (s)"),
    "lever_refund_end": ("退款最终关闭或异常", "Refunds end closed or abnormal"),
    "lever_http_code": ("扫码链接用 http", "Native codes are http addresses"),
    "lever_paid_code": ("付款成功但有缺陷 A6", "Paid, but with A6"),
    "lever_resp_code": ("网关生效但应答码不明", "Gateway takes effect, answers another code"),
    "lever_orig_resp_code": ("查询到的原交易应答码", "Queries tell another code of the payment"),
    "lever_bill_now": ("可下载当天账单", "Today's bill can be had"),
    "lever_bill_omit": ("账单缺行", "Bill leaves rows out"),
    "lever_bill_amount": ("账单金额不符", "Bill shows another amount"),
    "lever_bill_total": ("账单合计不符", "Bill states a wrong total"),
    "lever_bill_adjust": ("账单有差错调整（元）", "Bill holds an adjustment (yuan)"),
    "keys": ("网络密钥", "The networks' keys"),
    "keys_more": (
        "更换之后，应答和通知改用新密钥签名。",
        "Once renewed, answers and notifications are signed with the new one.",
    ),
    "cannot": ("做不到", "That cannot be done"),
    "cannot_more": ("交易没有变化。原因：", "Nothing has changed. The reason:"),
    "apps": ("商户应用", "Apps"),
    "no_apps": ("还没有应用，见 docs/sandbox.md。", "No apps yet; see docs/sandbox.md."),
    "network": ("网络", "Network"),
    "name": ("名称", "Name"),
    "mode": ("签名方式", "Mode"),
    "receiver": ("演示商户接收端", "Demo receiver"),
    "receiver_more": ("商户系统收到的 webhook。地址：", "Webhooks as a merchant receives them. Address:"),
    "secret_set": ("已设置密钥，签名会被验证。", "The secret is set; signatures are checked."),
    "secret_missing": (
        "未设置密钥，一律回答 401。POST /receiver/secret",
        "No secret yet, so everything is answered 401. POST /receiver/secret",
    ),
    "fail_times": ("接下来失败次数", "Fail the next"),
    "slow_s": ("每次延迟（秒）", "Wait before answering (s)"),
    "apply": ("应用", "Apply"),
    "events": ("收到的事件", "Received"),
    "no_events": ("还没有收到。", "Nothing yet."),
    "time": ("时间", "Time"),
    "event": ("事件", "Event"),
    "verified": ("签名有效", "Verified"),
    "body": ("内容", "Body"),
    "yes": ("是", "yes"),
    "no": ("否", "no"),
}


def language() -> str:
    """``?lang=``, then the cookie it left, then the browser's wish, then Chinese."""
    for asked in (request.args.get("lang"), request.cookies.get(_COOKIE)):
        if asked in LANGUAGES:
            return asked
    return request.accept_languages.best_match(LANGUAGES) or "zh"


def say(key: str) -> str:
    """The sentence in the visitor's language.  An unknown key is a mistake, and raises KeyError."""
    chinese, english = WORDS[key]
    return english if g.sandbox_language == "en" else chinese


def install(app: Flask) -> None:
    """Give templates ``t`` and ``lang``, and remember a language that was asked for."""

    @app.before_request
    def choose() -> None:
        g.sandbox_language = language()

    @app.after_request
    def remember(response: Response) -> Response:
        asked = request.args.get("lang")
        if asked in LANGUAGES and response.mimetype == "text/html":
            response.set_cookie(_COOKIE, asked, max_age=31536000, httponly=True, samesite="Lax")
        return response

    @app.context_processor
    def offer() -> dict[str, Any]:
        chosen = getattr(g, "sandbox_language", "zh")
        return {"t": say, "lang": chosen, "other_lang": "zh" if chosen == "en" else "en"}
