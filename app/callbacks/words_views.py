"""What the form for a provider's credentials says, listed so that the catalogue of translations knows it.

The texts themselves stand with the adapters, as data; a provider that is added adds its own here.
"""

from __future__ import annotations

from flask_babel import lazy_gettext as _l

# Labels and hints of every adapter's ``credentials``.
FIELDS = (
    _l("Application ID"),
    _l("16 digits, from the open platform console"),
    _l("Application private key"),
    _l("PEM or bare base64, PKCS#1 or PKCS#8"),
    _l("Alipay public key"),
    _l("key mode: Alipay's key, not your application's own"),
    _l("Application certificate"),
    _l("certificate mode: appCertPublicKey_….crt; needs all three certificates"),
    _l("Alipay certificate"),
    _l("certificate mode: alipayCertPublicKey_RSA2.crt"),
    _l("Alipay root certificates"),
    _l("certificate mode: alipayRootCert.crt"),
    _l("Seller ID (PID)"),
    _l("2088…; when given, notifications for another seller are refused"),
    _l("App authorisation token"),
    _l(
        "service providers only: the merchant's, who is paid; the seller ID is then the merchant's, "
        "application and keys are your own"
    ),
    _l("Product on a desktop"),
    _l("precreate shows a QR code here; page sends the browser to Alipay's own page"),
    _l("Product inside the Alipay app"),
    _l("wap opens Alipay's cashier; jsapi the pay sheet on the page, where your contract has JSAPI"),
    _l("Gateway address"),
    _l("Authorisation address"),
    _l("App ID"),
    _l("wx…: the official account that is bound to the merchant number"),
    _l("Merchant number"),
    _l("about 10 digits"),
    _l("Merchant private key"),
    _l("Merchant certificate"),
    _l("apiclient_cert.pem, or its serial number of 40 hexadecimal digits"),
    _l("APIv3 key"),
    _l("32 letters and digits, set by you"),
    _l("WeChat Pay public key ID"),
    _l("PUB_KEY_ID_…; answers are then signed with this key"),
    _l("WeChat Pay public key"),
    _l("pub_key.pem: WeChat Pay's key, not your own"),
    _l("WeChat Pay platform certificates"),
    _l("wechatpay_….pem, one or more; only for merchants without a public key, or on the move"),
    _l("App secret"),
    _l("of the official account; needed to be paid inside WeChat"),
    _l("App ID of your mobile app"),
    _l("when your own app takes payments under another app ID"),
    _l("Sub-merchant number"),
    _l("service providers only: who is paid; App ID, merchant number and keys are then your own"),
    _l("Sub-merchant's App ID"),
    _l(
        "service providers only, where payers are to be known to the sub-merchant's official account: "
        "the app secret is then of that account"
    ),
    _l("API address"),
    _l("Address for openids"),
    _l("Merchant ID"),
    _l("merId, 15 digits"),
    _l("Signing certificate (PFX)"),
    _l("the .pfx file in base64; or give key and certificate below"),
    _l("PFX password"),
    _l("Signing key"),
    _l("instead of a PFX: PEM, PKCS#1 or PKCS#8"),
    _l("Signing certificate"),
    _l("instead of a PFX: the certificate of the key, PEM"),
    _l("UnionPay intermediate certificate"),
    _l("acp_prod_middle.cer (test: acp_test_middle.cer) from open.unionpay.com; PEM, or several"),
    _l("UnionPay root certificate"),
    _l("acp_prod_root.cer (test: acp_test_root.cer) from open.unionpay.com; PEM, or several"),
    _l("System"),
    _l("production or test; test also accepts what UnionPay's test system signs"),
    _l("qr shows a QR code here; gateway sends the browser to UnionPay's own page"),
    _l("Full refund on the day of payment"),
    _l("void gives the money back at once where your contract has it; refund always works"),
    _l("empty: that of the system above"),
    _l("File address"),
)
# Why an adapter refuses one, by its own words.
FAULTS = {
    "is missing": _l("This is missing."),
    "is not an RSA private key": _l("This is no RSA private key. Paste the whole file, with its BEGIN line."),
    "is not an RSA public key": _l("This is no RSA public key. Paste the whole file, with its BEGIN line."),
    "is not a certificate": _l(
        "This is no certificate and no key. Enter the whole file, with its BEGIN line."
    ),
    "is shorter than 2048 bits": _l("This key is too short: it must have 2048 bits."),
    "is not a merchant number": _l("This is no merchant number."),
    "is not an app ID": _l("This is no app ID."),
    "is your own merchant number": _l("This is your own merchant number. Enter the sub-merchant's."),
    "goes with a sub-merchant number": _l("Enter the sub-merchant's number, too, or leave this empty."),
    "is not an app authorisation token": _l("This is no app authorisation token: it has up to 40 letters."),
    "is needed beside an app authorisation token": _l(
        "Enter the seller ID of the merchant who is paid: its notifications are known by it."
    ),
    "is not 32 characters long": _l("This has 32 characters."),
    "is not 32 letters and digits": _l("This has 32 letters and digits."),
    "does not open the PFX file": _l("This password does not open the file, or the file is damaged."),
    "is not the certificate of the private key": _l("This certificate belongs to another key."),
    "is not the certificate of the signing key": _l("This certificate belongs to another key."),
    "is your own key, not WeChat Pay's": _l("This is your own key. Enter the wallet's."),
    "is your application's own key, not Alipay's": _l("This is your own key. Enter the wallet's."),
    "is missing: give it, or a signing key and certificate": _l("This is missing."),
    "is not a PFX file in base64": _l("This is no PFX file. Choose the .pfx file itself."),
    "is not an http address": _l("This is no address like https://…"),
}
_LAPSED = _l("The merchant has taken back its authorisation, or it has ended: ask for another token.")
# What to do about a refusal, by the provider's word without its prefix.
CURES = {
    "invalid-signature": _l(
        "Alipay does not know this private key: upload its public half in the console, under 接口加签方式."
    ),
    "invalid-app-auth-token": _LAPSED,
    "app-auth-token-time-out": _LAPSED,
    "invalid-app-auth-token-no-api": _l(
        "The merchant's authorisation does not cover this product: ask for another one, with it."
    ),
    "invalid-app-id": _l("Alipay does not know this application. Compare the APPID, and live with sandbox."),
    "missing-signature-key": _l("No public key is uploaded for this application in Alipay's console."),
    "insufficient-isv-permissions": _l("The product is not contracted for this application: 产品绑定."),
    "ACCESS_FORBIDDEN": _l("The product is not contracted for this application: 产品绑定."),
    "PARTNER_ERROR": _l("Alipay does not know this application. Compare the APPID, and live with sandbox."),
    "SIGN_ERROR": _l(
        "Key and certificate do not belong together, the certificate is revoked, or the clock here is wrong."
    ),
    "APPID_MCHID_NOT_MATCH": _l(
        "The app ID is not bound to the merchant number: 产品中心 → AppID账号管理, and confirm on both sides."
    ),
    "MCH_NOT_EXISTS": _l("WeChat Pay does not know this merchant number."),
    "NO_AUTH": _l("The product is not open for this merchant: 产品中心 → 我的产品."),
    "RESOURCE_NOT_EXISTS": _l(
        "This merchant has a WeChat Pay public key and no certificates: enter the public key and its ID."
    ),
    "11": _l(
        "UnionPay does not accept the signature: test and production mixed, or another merchant's file."
    ),
    "31": _l("UnionPay says that the merchant is not active. Ask your acquirer."),
    "32": _l("UnionPay says that the merchant has no right to this. Ask your acquirer."),
    "43": _l("The product is not open to this merchant. Ask your acquirer."),
}
