# ruff: noqa: E501, ISC004  user agents are as long as they are
"""The corpus of user agents: what real browsers, apps, previews and crawlers say of themselves."""

from __future__ import annotations

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
    # on HarmonyOS without Android underneath
    ("Mozilla/5.0 (Phone; OpenHarmony 5.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/114.0.0.0 Safari/537.36 ArkWeb/4.1.6.1 Mobile MicroMessenger/8.0.10.41(0xf3100a29) Weixin NetType/WIFI Language/zh_HK MMWEBID/2907 MMWEBSDK/202508070004 XWEB/1140319", Scene.WECHAT),
    ("Mozilla/5.0 (Phone; OpenHarmony 5.1) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/114.0.0.0 Safari/537.36 ArkWeb/4.1.6.1 Mobile MicroMessenger/8.0.9.39(0x28002733) Weixin NetType/WIFI Language/zh_CN", Scene.WECHAT),
    # older kernels, and a mini program's page
    ("Mozilla/5.0 (Linux; Android 9; COL-AL10 Build/HUAWEICOL-AL10; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/78.0.3904.62 XWEB/2891 MMWEBSDK/20210601 Mobile Safari/537.36 MMWEBID/1254 MicroMessenger/8.0.11.1980(0x28000B51) Process/toolsmp WeChat/arm64 Weixin NetType/4G Language/zh_CN ABI/arm64", Scene.WECHAT),
    ("Mozilla/5.0 (Linux; Android 7.1.1; MI 6 Build/NMF26X; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/57.0.2987.132 MQQBrowser/6.2 TBS/043807 Mobile Safari/537.36 MicroMessenger/6.6.1.1220(0x26060135) NetType/4G Language/zh_CN miniProgram", Scene.WECHAT),
    # an iPad that asks for desktop pages even inside WeChat
    ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) MicroMessenger/8.0.40(0x18002834) NetType/WIFI Language/zh_CN", Scene.WECHAT),
    # WeChat on computers shows a code
    (f"{WINDOWS} Chrome/107.0.0.0 Safari/537.36 NetType/WIFI MicroMessenger/7.0.20.1781(0x6700143B) WindowsWechat(0x63090a13) XWEB/8555 Flue", Scene.DESKTOP),
    (f"{MAC} MicroMessenger/6.8.0(0x16080000) MacWechat/3.8.7(0x13080712) XWEB/1191 Flue", Scene.DESKTOP),
    (f"{WINDOWS} Chrome/122.0.0.0 Safari/537.36 MicroMessenger/7.0.20.1781(0x6700143B) NetType/WIFI MiniProgramEnv/Windows WindowsWechat/WMPF WindowsWechat(0x63090c11)XWEB/11275", Scene.DESKTOP),
    (f"{MAC} MicroMessenger/6.8.0(0x16080000) NetType/WIFI MiniProgramEnv/Mac MacWechat/WMPF XWEB/30817", Scene.DESKTOP),
    (f"{WINDOWS} Chrome/132.0.0.0 Safari/537.36 MicroMessenger/7.0.20.1781(0x6700143B) NetType/WIFI MiniProgramEnv/Windows WindowsWechat/WMPF WindowsWechat(0x63090a13) UnifiedPCWindowsWechat(0xf254173b) XWEB/19027", Scene.DESKTOP),
    ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/132.0.0.0 Safari/537.36 NetType/WIFI MicroMessenger/7.0.20.1781(0x6700143B) MacWechat/3.8.7(0x13080712) UnifiedPCMacWechat(0xf2641702) XWEB/18788 Flue", Scene.DESKTOP),
    ("Mozilla/5.0 (Windows NT 6.1; WOW64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/39.0.2171.95 Safari/537.36 MicroMessenger/6.5.2.501 NetType/WIFI WindowsWechat", Scene.DESKTOP),
    ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/132.0.0.0 Safari/537.36 MicroMessenger/7.0.20.1781(0x6700143B) NetType/WIFI UnifiedPCLinuxWechat(0xf2640619) XWEB/13639 Flue", Scene.DESKTOP),
    ("Mozilla/5.0 (PC; OpenHarmony 5.1) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/132.0.0.0 Safari/537.36 ArkWeb/6.0.0.47 MicroMessenger/8.0.10.41(0xf3100a29) Weixin NetType/WIFI Language/zh_CN", Scene.DESKTOP),
    # WeCom carries the name MicroMessenger and is another app
    (f"{IOS} Mobile/15E148 wxwork/4.1.22 MicroMessenger/7.0.1 Language/zh ColorScheme/Light", Scene.MOBILE),
    (f"{DROID} Version/4.0 Chrome/116.0.0.0 Mobile Safari/537.36 wxwork/4.1.20 MicroMessenger/7.0.1 NetType/WIFI Language/zh", Scene.MOBILE),
    (f"{WINDOWS} Chrome/108.0.5359.220 Safari/537.36 wxwork/4.1.13 (MicroMessenger/6.2) WindowsWechat  MailPlugin_Electron WeMail", Scene.DESKTOP),
    ("Mozilla/5.0 (Linux; Android 15; V2232A Build/AP3A.240905.015.A2; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/134.0.6998.136 Mobile Safari/537.36 XWEB/1340157 MMWEBSDK/20250201 MMWEBID/140 wxwork/4.1.38 MicroMessenger/7.0.1 NetType/WIFI Language/zh Lang/zh ColorScheme/Light wwmver/3.26.38.639", Scene.MOBILE),
    # Alipay
    (f"{IOS} Mobile/21F90 Ariver/1.1.0 AliApp(AP/10.6.30.6000) Nebula WK RVKType(0) AlipayDefined(nt:WIFI,ws:390|780|3.0) AlipayClient/10.6.30.6000 Language/zh-Hans", Scene.ALIPAY),
    (f"{DROID} Version/4.0 Chrome/105.0.5195.148 UWS/5.11.0.0 Mobile Safari/537.36 UCBS/5.11.0.0 NebulaSDK/1.8.100112 Nebula AlipayDefined(nt:WIFI,ws:393|0|2.75) AliApp(AP/10.6.20.8000) AlipayClient/10.6.20.8000 Language/zh-Hans", Scene.ALIPAY),
    (f"{DROID} Version/4.0 Chrome/69.0.3497.100 Mobile Safari/537.36 AliApp(AP/10.2.3.7100) AlipayClient/10.2.3.7100 MiniProgram", Scene.ALIPAY),
    (f"{IOS} Mobile/15E148 AliApp(AP/10.5.0.6000) AlipayClient/10.5.0.6000 Language/en", Scene.ALIPAY),
    ("Mozilla/5.0 (Linux; U; Android 9; zh-CN; HLK-AL00 Build/HONORHLK-AL00) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/69.0.3497.100 UWS/3.21.0.73 Mobile Safari/537.36 UCBS/3.21.0.73_191212221923 NebulaSDK/1.8.100112 Nebula AlipayDefined(nt:WIFI,ws:360|0|3.0) AliApp(AP/10.1.82.9020) AlipayClient/10.1.82.9020 Language/zh-Hans useStatusBar/true isConcaveScreen/false Region/CN", Scene.ALIPAY),
    (f"{DROID} Version/4.0 Chrome/126.0.6478.122 MYWeb/1.3.126.250916150540 UWS/3.22.2.9999 UCBS/3.22.2.9999_220000000000 Mobile Safari/537.36 NebulaSDK/1.8.100112 Nebula AlipayDefined(nt:4G,ws:320|0|3.3875,ac:sp) AliApp(AP/10.7.86.8000) AlipayClient/10.7.86.8000 Language/zh-Hans useStatusBar/true isConcaveScreen/true Region/CNAriver/10.7.86.8000 MiniProgram APXWebView DTN/2.0", Scene.ALIPAY),
    ("Mozilla/5.0 (Phone; OpenHarmony 5.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/114.0.0.0 Safari/537.36 ArkWeb/4.1.6.1 Mobile Ariver/1.0.0 Nebula AliApp(AP/10.7.20.1000) AlipayClient/10.7.20.1000 Language/zh-Hans Region/CN", Scene.ALIPAY),
    # Alipay of Hong Kong: with and without the mainland client's name beside its own
    ("Mozilla/5.0 (Linux; Android 9; LYA-AL00 Build/HUAWEILYA-AL00L; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/70.0.3538.110 Mobile Safari/537.36 NebulaSDK/1.8.100112 Nebula AlipayDefined(nt:WIFI,ws:360|0|3.0) AliApp(APHK/2.6.0.160) AlipayClientHK/2.6.0.160 Language/zh-HK useStatusBar/true isConcaveScreen/true AlipayClient/10.1.32.600 Alipay Language/zh-Hans", Scene.ALIPAY),
    (f"{DROID} Version/4.0 Chrome/69.0.3497.100 UWS/3.21.0.69 Mobile Safari/537.36 UCBS/3.21.0.69_191205100431 NebulaSDK/1.8.100112 Nebula AlipayDefined(nt:4G,ws:411|0|3.5,ac:sp) AliApp(AP/10.1.80.8050) AlipayClientHK/10.1.80.8050 Language/zh-Hans useStatusBar/true isConcaveScreen/false Region/CN", Scene.ALIPAY),
    # Other apps of the same house are just phones
    (f"{IOS} Mobile/15E148 AliApp(TB/10.33.10) WindVane/8.7.2 1170x2532 WK", Scene.MOBILE),
    (f"{DROID} Version/4.0 Chrome/100.0.4896.58 Mobile Safari/537.36 AliApp(DingTalk/7.5.10) com.alibaba.android.rimet/32478", Scene.MOBILE),
    # UnionPay's app, and banks that follow its standard
    (f"{DROID} Version/4.0 Chrome/114.0.5735.196 Mobile Safari/537.36 (com.unionpay.mobilepay) (cordova 7.0.0) (updebug 0) (clientVersion 307) (version 1007)(UnionPay/1.0 CloudPay)(language zh_CN)", Scene.UNIONPAY),
    (f"{IOS} Mobile/15E148/sa-sdk-ios (com.unionpay.chsp) (cordova 4.5.4) (updebug 0) (version 1007) (UnionPay/1.0 CloudPay) (clientVersion 307)", Scene.UNIONPAY),
    (f"{DROID} Version/4.0 Chrome/99.0 Mobile Safari/537.36 UnionPay/1.0 ICBCiPhoneBSNew", Scene.UNIONPAY),
    (f"{IOS} Mobile/15E148 UnionPay/1.0 CCBMobile", Scene.UNIONPAY),
    ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_1_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148/sa-sdk-ios  (com.unionpay.chsp) (cordova 4.5.4) (updebug 0) (version 939) (UnionPay/1.0 CloudPay) (clientVersion 199) (language zh_CN) (upApplet single) (walletMode 00)", Scene.UNIONPAY),
    ("Mozilla/5.0 (iPhone; CPU iPhone OS 15_4_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148com.bankcomm.maidanba.V2;mapp_saoma;isApplePayUsable;paypinflag;newVCard;digitalcert;WKWebView;UnionPay/1.0 BoComMDB;buildVersion165;mdbTitleBar;", Scene.UNIONPAY),
    ("Mozilla/5.0 (iPhone; CPU iPhone OS 14_2_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148/CloudMercWebView/UnionPay/1.0 CCBLoongPay", Scene.UNIONPAY),
    (f"{IOS} Mobile/15E148/application=JDJR-App&clientType=ios&iosType=iphone&clientVersion=8.1.70&osVersion=26.2&netWorkType=1&CpayJS=UnionPay/1.0 JDJR&stockSDK=stocksdk-iphone_6.0.0", Scene.UNIONPAY),
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
    ("Mozilla/5.0 (Linux; U; Android 11; zh-cn; PDRM00 Build/RKQ1.200903.002) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/70.0.3538.80 Mobile Safari/537.36 HeyTapBrowser/40.7.27.2", Scene.MOBILE),
    ("Mozilla/5.0 (Linux; U; Android 10; zh-Hans-CN; ELE-AL00 Build/HUAWEIELE-AL00) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/100.0.4896.58 Quark/6.11.6.541 Mobile Safari/537.36", Scene.MOBILE),
    ("Mozilla/5.0 (iPhone; CPU iPhone OS 16_6 like Mac OS X; zh-cn) AppleWebKit/601.1.46 (KHTML, like Gecko) Mobile/20G75 Quark/6.12.5.2127 Mobile", Scene.MOBILE),
    ("Mozilla/5.0 (Linux; Android 12; RMX3300 Build/SKQ1.211019.001; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/97.0.4692.98 Mobile Safari/537.36 T7/13.32 SP-engine/2.70.0 baiduboxapp/13.32.0.10 (Baidu; P1 12) NABar/1.0", Scene.MOBILE),
    ("Mozilla/5.0 (iPhone; CPU iPhone OS 15_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 SP-engine/2.69.0 main%2F1.0 baiduboxapp/13.31.0.10 (Baidu; P2 15.4) NABar/1.0 themeUA=Theme/default", Scene.MOBILE),
    (f"{IOS} FxiOS/127.0 Mobile/15E148 Safari/605.1.15", Scene.MOBILE),
    (f"{IOS} EdgiOS/126.0.2592.56 Version/17.0 Mobile/15E148 Safari/604.1", Scene.MOBILE),
    (f"{IOS} Mobile/15E148 QQ/9.0.50.612 V1_IPH_SQ_9.0.50_1_APP_A Pixel/1179 NetType/WIFI", Scene.MOBILE),
    (f"{IOS} Mobile/15E148 Weibo (iPhone14,5__weibo__14.6.0__iphone__os17.5.1)", Scene.MOBILE),
    (f"{IOS} Mobile/15E148 xhsdiscover/8.40 NetType/WiFi", Scene.MOBILE),
    (f"{PIXEL} Chrome/126.0.0.0 Mobile Safari/537.36 EdgA/126.0.0.0", Scene.MOBILE),
    ("Mozilla/5.0 (Linux; U; Android 13; en-us; M2101K6G Build/TKQ1.221013.002) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/112.0.5615.136 Mobile Safari/537.36 XiaoMi/MiuiBrowser/14.4.0-g", Scene.MOBILE),
    # Computers
    (f"{WINDOWS} Chrome/126.0.0.0 Safari/537.36", Scene.DESKTOP),
    (f"{WINDOWS} Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0", Scene.DESKTOP),
    ("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:127.0) Gecko/20100101 Firefox/127.0", Scene.DESKTOP),
    (f"{MAC} Version/17.5 Safari/605.1.15", Scene.DESKTOP),  # an iPad may say the same: it can switch
    ("Mozilla/5.0 (X11; Linux x86_64; rv:126.0) Gecko/20100101 Firefox/126.0", Scene.DESKTOP),
    ("Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/125.0.0.0 Safari/537.36", Scene.DESKTOP),
    ("Mozilla/5.0 (PC; OpenHarmony 5.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/132.0.0.0 Safari/537.36 ArkWeb/6.0 HuaweiBrowser/5.1", Scene.DESKTOP),
    (f"{MAC} Version/18.1 Safari/605.1.15", Scene.DESKTOP),  # iPadOS asking for desktop pages
    (f"{WINDOWS} Quark/6.5.1.1453 Chrome/122.0.6261.112 Electron/28.2.1 Safari/537.36", Scene.DESKTOP),
    (f"{WINDOWS} Chrome/123.0.6312.86 Safari/537.36 QQBrowser/13.5.6267.400", Scene.DESKTOP),
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
    ("Mozilla/5.0 (iPhone; CPU iPhone OS 13_2_3 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/13.0.3 Mobile/15E148 Safari/604.1 (compatible; Applebot/0.1; +http://www.apple.com/go/applebot)", Scene.DESKTOP),
    ("Mozilla/5.0 (Linux; Android 7.0;) AppleWebKit/537.36 (KHTML, like Gecko) Mobile Safari/537.36 (compatible; PetalBot;+https://webmaster.petalsearch.com/site/petalbot)", Scene.DESKTOP),
    ("Mozilla/5.0 (iPhone; CPU iPhone OS 10_3 like Mac OS X) AppleWebKit/602.1.50 (KHTML, like Gecko) CriOS/56.0.2924.75 Mobile/14E5239e YisouSpider/5.0 Safari/602.1", Scene.DESKTOP),
    ("Mozilla/5.0 (compatible; DingTalkBot-LinkService/1.0)", Scene.DESKTOP),
    ("Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5", Scene.DESKTOP),
    ("LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)", Scene.DESKTOP),
    ("", Scene.DESKTOP),
]  # fmt: skip
