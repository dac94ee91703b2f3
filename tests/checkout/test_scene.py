# ruff: noqa: E501, ISC004  user agents are as long as they are
"""The corpus of user agents: what real browsers, apps, previews and crawlers say of themselves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.checkout.scene import scene_of
from app.providers.base import Scene

IOS = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
DROID = "Mozilla/5.0 (Linux; Android 14; 23127PN0CC Build/UKQ1.230804.001; wv) AppleWebKit/537.36 (KHTML, like Gecko)"
PIXEL = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko)"
WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)"
MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)"

CORPUS = [
    # WeChat
    (f"{IOS} Mobile/15E148 MicroMessenger/8.0.49(0x18003137) NetType/WIFI Language/zh_CN", Scene.WECHAT),
    (f"{IOS} Mobile/15E148 MicroMessenger/8.0.49(0x18003137) NetType/4G Language/en", Scene.WECHAT),
    (
        f"{DROID} Version/4.0 Chrome/116.0.0.0 Mobile Safari/537.36 XWEB/1160117 MMWEBSDK/20240501 "
        "MMWEBID/3628 MicroMessenger/8.0.50.2701(0x2800325B) WeChat/arm64 Weixin NetType/5G Language/zh_CN ABI/arm64",
        Scene.WECHAT,
    ),
    (
        f"{DROID} Version/4.0 Chrome/86.0.4240.99 XWEB/4317 MMWEBSDK/20220903 Mobile Safari/537.36 MMWEBID/1254 "
        "MicroMessenger/8.0.28.2240(0x28001C57) WeChat/arm64 Weixin NetType/WIFI Language/zh_CN miniProgram/wx1234567890abcdef",
        Scene.WECHAT,
    ),
    (f"{IOS} Mobile/15E148 MicroMessenger/8.0.42(0x18002a2f) NetType/WIFI Language/zh_CN miniProgram/wx12", Scene.WECHAT),
    ("Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 MicroMessenger/8.0.40(0x18002834) NetType/WIFI", Scene.WECHAT),
    # WeChat on computers shows a code
    (f"{WINDOWS} Chrome/107.0.0.0 Safari/537.36 NetType/WIFI MicroMessenger/7.0.20.1781(0x6700143B) WindowsWechat(0x63090a13) XWEB/8555 Flue", Scene.DESKTOP),
    (f"{MAC} MicroMessenger/6.8.0(0x16080000) MacWechat/3.8.7(0x13080712) XWEB/1191 Flue", Scene.DESKTOP),
    (f"{WINDOWS} Chrome/122.0.0.0 Safari/537.36 MicroMessenger/7.0.20.1781(0x6700143B) NetType/WIFI MiniProgramEnv/Windows WindowsWechat/WMPF WindowsWechat(0x63090c11)XWEB/11275", Scene.DESKTOP),
    (f"{MAC} MicroMessenger/6.8.0(0x16080000) NetType/WIFI MiniProgramEnv/Mac MacWechat/WMPF XWEB/30817", Scene.DESKTOP),
    # WeCom carries the name MicroMessenger and is another app
    (f"{IOS} Mobile/15E148 wxwork/4.1.22 MicroMessenger/7.0.1 Language/zh ColorScheme/Light", Scene.MOBILE),
    (f"{DROID} Version/4.0 Chrome/116.0.0.0 Mobile Safari/537.36 wxwork/4.1.20 MicroMessenger/7.0.1 NetType/WIFI Language/zh", Scene.MOBILE),
    (f"{WINDOWS} Chrome/108.0.5359.220 Safari/537.36 wxwork/4.1.13 (MicroMessenger/6.2) WindowsWechat  MailPlugin_Electron WeMail", Scene.DESKTOP),
    # Alipay
    (f"{IOS} Mobile/21F90 Ariver/1.1.0 AliApp(AP/10.6.30.6000) Nebula WK RVKType(0) AlipayDefined(nt:WIFI,ws:390|780|3.0) AlipayClient/10.6.30.6000 Language/zh-Hans", Scene.ALIPAY),
    (f"{DROID} Version/4.0 Chrome/105.0.5195.148 UWS/5.11.0.0 Mobile Safari/537.36 UCBS/5.11.0.0 NebulaSDK/1.8.100112 Nebula AlipayDefined(nt:WIFI,ws:393|0|2.75) AliApp(AP/10.6.20.8000) AlipayClient/10.6.20.8000 Language/zh-Hans", Scene.ALIPAY),
    (f"{DROID} Version/4.0 Chrome/69.0.3497.100 Mobile Safari/537.36 AliApp(AP/10.2.3.7100) AlipayClient/10.2.3.7100 MiniProgram", Scene.ALIPAY),
    (f"{IOS} Mobile/15E148 AliApp(AP/10.5.0.6000) AlipayClient/10.5.0.6000 Language/en", Scene.ALIPAY),
    # Other apps of the same house are just phones
    (f"{IOS} Mobile/15E148 AliApp(TB/10.33.10) WindVane/8.7.2 1170x2532 WK", Scene.MOBILE),
    (f"{DROID} Version/4.0 Chrome/100.0.4896.58 Mobile Safari/537.36 AliApp(DingTalk/7.5.10) com.alibaba.android.rimet/32478", Scene.MOBILE),
    # UnionPay's app, and banks that follow its standard
    (f"{DROID} Version/4.0 Chrome/114.0.5735.196 Mobile Safari/537.36 (com.unionpay.mobilepay) (cordova 7.0.0) (updebug 0) (clientVersion 307) (version 1007)(UnionPay/1.0 CloudPay)(language zh_CN)", Scene.UNIONPAY),
    (f"{IOS} Mobile/15E148/sa-sdk-ios (com.unionpay.chsp) (cordova 4.5.4) (updebug 0) (version 1007) (UnionPay/1.0 CloudPay) (clientVersion 307)", Scene.UNIONPAY),
    (f"{DROID} Version/4.0 Chrome/99.0 Mobile Safari/537.36 UnionPay/1.0 ICBCiPhoneBSNew", Scene.UNIONPAY),
    (f"{IOS} Mobile/15E148 UnionPay/1.0 CCBMobile", Scene.UNIONPAY),
    # Phones' own browsers
    (f"{IOS} Version/17.5 Mobile/15E148 Safari/604.1", Scene.MOBILE),
    (f"{IOS} CriOS/126.0.6478.54 Mobile/15E148 Safari/604.1", Scene.MOBILE),
    ("Mozilla/5.0 (iPad; CPU OS 12_5_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/12.1.2 Mobile/15E148 Safari/604.1", Scene.MOBILE),
    (f"{PIXEL} Chrome/126.0.0.0 Mobile Safari/537.36", Scene.MOBILE),
    (f"{PIXEL} Chrome/126.0.0.0 Safari/537.36", Scene.MOBILE),  # a tablet
    ("Mozilla/5.0 (Android 14; Mobile; rv:127.0) Gecko/127.0 Firefox/127.0", Scene.MOBILE),
    ("Mozilla/5.0 (Linux; Android 10; HarmonyOS; ALN-AL00; HMSCore 6.13.0.321) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/114.0.5735.196 HuaweiBrowser/15.0.4.312 Mobile Safari/537.36", Scene.MOBILE),
    ("Mozilla/5.0 (Phone; OpenHarmony 5.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/114.0.0.0 Safari/537.36 ArkWeb/4.1.6.1 Mobile HuaweiBrowser/5.0.4.300", Scene.MOBILE),
    ("Mozilla/5.0 (Tablet; OpenHarmony 5.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/114.0.0.0 Safari/537.36 ArkWeb/4.1.6.1 HuaweiBrowser/5.0.4.300", Scene.MOBILE),
    ("Mozilla/5.0 (Linux; U; Android 13; zh-cn; 22041211AC Build/TP1A.220624.014) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/109.0.5414.118 Mobile Safari/537.36 XiaoMi/MiuiBrowser/18.2.150419", Scene.MOBILE),
    ("Mozilla/5.0 (Linux; U; Android 12; zh-CN; V2136A Build/SP1A.210812.003) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/100.0.4896.58 UCBrowser/16.5.8.1305 Mobile Safari/537.36", Scene.MOBILE),
    ("UCWEB/2.0 (MIDP-2.0; U; Adr 9; en-US; Redmi_Note_7) U2/1.0.0 UCBrowser/12.13.5 U2/1.0.0 Mobile", Scene.MOBILE),
    ("Mozilla/5.0 (Linux; U; Android 14; zh-cn; PHB110 Build/UKQ1.230924.001) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/109.0.5414.86 MQQBrowser/14.9 Mobile Safari/537.36 COVC/046915", Scene.MOBILE),
    (f"{DROID} Version/4.0 Chrome/109.0.5414.86 MQQBrowser/6.2 TBS/046715 Mobile Safari/537.36 V1_AND_SQ_9.0.50_6258_YYB_D QQ/9.0.50.16545 NetType/WIFI", Scene.MOBILE),
    ("Mozilla/5.0 (Linux; Android 13; V2218A; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/101.0.4951.74 Mobile Safari/537.36 VivoBrowser/20.2.10.0", Scene.MOBILE),
    ("Mozilla/5.0 (Linux; Android 14; SM-S9180) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/25.0 Chrome/121.0.0.0 Mobile Safari/537.36", Scene.MOBILE),
    ("Mozilla/5.0 (Linux; Android 9; CUBOT X19) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36", Scene.MOBILE),
    ("Opera/9.80 (Android; Opera Mini/81.0.2254/191.303; U; en) Presto/2.12.423 Version/12.16", Scene.MOBILE),
    # Computers
    (f"{WINDOWS} Chrome/126.0.0.0 Safari/537.36", Scene.DESKTOP),
    (f"{WINDOWS} Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0", Scene.DESKTOP),
    ("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:127.0) Gecko/20100101 Firefox/127.0", Scene.DESKTOP),
    (f"{MAC} Version/17.5 Safari/605.1.15", Scene.DESKTOP),  # an iPad may say the same: it can switch
    ("Mozilla/5.0 (X11; Linux x86_64; rv:126.0) Gecko/20100101 Firefox/126.0", Scene.DESKTOP),
    ("Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/125.0.0.0 Safari/537.36", Scene.DESKTOP),
    ("Mozilla/5.0 (PC; OpenHarmony 5.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/132.0.0.0 Safari/537.36 ArkWeb/6.0 HuaweiBrowser/5.1", Scene.DESKTOP),
    # Crawlers, previews and programs
    ("Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.6478.61 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", Scene.DESKTOP),
    ("Mozilla/5.0 (Linux; Android 5.0) AppleWebKit/537.36 (KHTML, like Gecko) Mobile Safari/537.36 (compatible; Bytespider; spider-feedback@bytedance.com)", Scene.DESKTOP),
    ("Mozilla/5.0 (iPhone; CPU iPhone OS 9_1 like Mac OS X) AppleWebKit/601.1.46 (KHTML, like Gecko) Version/9.0 Mobile/13B143 Safari/601.1 (compatible; Baiduspider-render/2.0; +http://www.baidu.com/search/spider.html)", Scene.DESKTOP),
    ("facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", Scene.DESKTOP),
    ("WhatsApp/2.23.20.0 A", Scene.DESKTOP),
    ("TelegramBot (like TwitterBot)", Scene.DESKTOP),
    ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", Scene.DESKTOP),
    ("Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)", Scene.DESKTOP),
    ("curl/8.5.0", Scene.DESKTOP),
    ("", Scene.DESKTOP),
]  # fmt: skip


@pytest.mark.parametrize(("user_agent", "scene"), CORPUS)
def test_a_real_user_agent_is_placed(user_agent, scene):
    assert scene_of(user_agent) is scene


def test_the_corpus_is_worth_the_name():
    assert len({user_agent for user_agent, _ in CORPUS}) >= 50


@given(st.text(max_size=3000))
def test_any_text_is_some_scene_and_never_the_merchants_app(user_agent):
    assert scene_of(user_agent) in set(Scene) - {Scene.APP}


def test_a_name_beyond_the_limit_is_not_looked_for():
    assert scene_of("x" * 1000 + " MicroMessenger/8.0") is Scene.DESKTOP
