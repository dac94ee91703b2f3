// npm wechatpay-node-v3 at the sandbox: public-key and certificate mode.

import * as story from './story.mjs';
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import wechatpay from 'wechatpay-node-v3';
import request from 'wechatpay-node-v3/dist/lib/pay-request.js';

const Pay = wechatpay.default ?? wechatpay;
const LIVE = 'https://api.mch.weixin.qq.com';
const DESCRIPTION = '测试商品 A+B/1 100%';
const { account, ours, mode, today } = story.case;

const pay = new Pay({
  appid: account.appid,
  mchid: account.mchid,
  publicKey: Buffer.from(account.merchant_cert), // it reads the serial number from it, no more
  privateKey: Buffer.from(ours.private_key),
  key: account.apiv3_key,
  userAgent: 'merchant',
});
// The client's own transport under an address that is ours; the live one is written into it.
const wire = new request.PayRequest();
const local = (url) => url.replace(LIVE, account.api_base);
pay.createHttp({
  get: (url, headers) => wire.get(local(url), headers),
  post: (url, params, headers) => wire.post(local(url), params, headers),
});
if (mode !== 'cert') Pay.certificates = { [account.public_key_id]: account.public_key };

const paid = story.number('PAID');
const refund = story.number('REFUND');

const order = (number, more = {}) => ({
  description: DESCRIPTION,
  out_trade_no: number,
  notify_url: story.address('paid'),
  amount: { total: 1999 },
  ...more,
});

/** What an answer says, once it has the right status. */
function said({ status, data, error }, wanted = 200) {
  assert.equal(status, wanted, error);
  return data;
}

const query = async (number) => said(await pay.query({ out_trade_no: number }));

const signed = ({ headers, body }) => pay.verifySign({
  timestamp: headers['wechatpay-timestamp'],
  nonce: headers['wechatpay-nonce'],
  serial: headers['wechatpay-serial'],
  signature: headers['wechatpay-signature'],
  body,
  apiSecret: account.apiv3_key,
});

function opened(body, key = account.apiv3_key) {
  const { event_type: event, resource } = JSON.parse(body);
  const { ciphertext, nonce, associated_data: associated = '' } = resource;
  return { event, resource: pay.decipher_gcm(ciphertext, associated, nonce, key) };
}

await story.begin(204);

await story.step('places an order', async () => {
  const made = said(await pay.transactions_native(order(paid)));
  assert.match(made.code_url, /^weixin:\/\/wxpay\/bizpayurl\?pr=/);
});

await story.step('sees it unpaid', async () => {
  assert.equal((await query(paid)).trade_state, 'NOTPAY');
});

await story.step('hears of the payment', async () => {
  await story.control(`trades/${paid}/pay`);
  const [mail] = await story.heard('paid');
  assert.ok(await signed(mail));
  const { event, resource } = opened(mail.body);
  assert.equal(event, 'TRANSACTION.SUCCESS');
  assert.deepEqual(
    [resource.out_trade_no, resource.trade_state, resource.mchid, resource.amount.total],
    [paid, 'SUCCESS', account.mchid, 1999],
  );
});

await story.step('rejects a tampered notification', async () => {
  const [{ headers, body }] = await story.heard('paid');
  assert.equal(await signed({ headers, body: body.replace('TRANSACTION', 'TRANSACTI0N') }), false);
  assert.equal(await signed({ headers: { ...headers, 'wechatpay-nonce': 'another' }, body }), false);
  assert.equal(await signed({ headers: { ...headers, 'wechatpay-timestamp': '1705284000' }, body }), false);
});

await story.step('rejects a forged notification', async () => {
  const forged = story.number('FORGED');
  said(await pay.transactions_native(order(forged, { notify_url: story.address('forged') })));
  for (const [count, kind] of ['bad_signature', 'other_key', 'signtest'].entries()) {
    await story.control(`trades/${forged}/forge`, { kind });
    assert.equal(await signed((await story.heard('forged', count + 1)).at(-1)), false, kind);
  }
});

await story.step('sees it paid', async () => {
  const told = await query(paid);
  assert.deepEqual([told.trade_state, told.amount.payer_total], ['SUCCESS', 1999]);
  assert.deepEqual(said(await pay.query({ transaction_id: told.transaction_id })), told);
});

await story.step('refunds', async () => {
  const body = {
    out_trade_no: paid,
    out_refund_no: refund,
    reason: '坏了',
    notify_url: story.address('refund'),
    amount: { refund: 500, total: 1999, currency: 'CNY' },
  };
  const made = said(await pay.refunds(body));
  assert.deepEqual([made.status, made.amount.refund], ['PROCESSING', 500]);
  assert.equal(said(await pay.refunds(body)).refund_id, made.refund_id);
});

await story.step('sees the refund', async () => {
  const told = said(await pay.find_refunds(refund));
  assert.deepEqual([told.status, told.amount.refund], ['SUCCESS', 500]);
});

await story.step('hears of the refund', async () => {
  const [mail] = await story.heard('refund');
  assert.ok(await signed(mail));
  const { event, resource } = opened(mail.body);
  assert.equal(event, 'REFUND.SUCCESS');
  assert.deepEqual([resource.out_refund_no, resource.refund_status], [refund, 'SUCCESS']);
});

await story.step('closes', async () => {
  const closed = story.number('CLOSED');
  said(await pay.transactions_native(order(closed)));
  said(await pay.close(closed), 204);
  assert.equal((await query(closed)).trade_state, 'CLOSED');
});

await story.step('opens the pay sheet in WeChat', async () => {
  const number = story.number('BRIDGE');
  const payer = { openid: account.openid };
  const call = said(await pay.transactions_jsapi(order(number, { payer })));
  const done = await story.control('wechatpay/jsapi_pay', call);
  assert.deepEqual(done, { err_msg: 'get_brand_wcpay_request:ok', out_trade_no: number });
});

await story.step('hands an app its order', async () => {
  const call = said(await pay.transactions_app(order(story.number('APP'))));
  assert.equal((await story.control('wechatpay/sdk_pay', call)).errCode, 0);
});

await story.step('reads the bill', async () => {
  const made = said(await pay.tradebill({ bill_date: today }));
  const url = made.download_url.replace(account.api_base, LIVE); // signed from the live host on
  const file = said(await pay.downloadBill(url));
  assert.equal(createHash(made.hash_type).update(file).digest('hex'), made.hash_value);
  const mine = file.split('\r\n').filter((line) => line.includes(`\`${paid},`));
  assert.equal(mine.length, 2); // paid, and refunded in part
});

await story.step('accepts our signatures', async () => {
  Pay.certificates = { ours: ours.public_key };
  for (const { name, method, path, timestamp, nonce, body, signature } of ours.requests) {
    // It only joins three lines by itself; a request has five.
    const head = `${method}\n${path}\n${timestamp}`;
    const judged = (at) => pay.verifySign({ timestamp: at, nonce, body, serial: 'ours', signature });
    assert.ok(await judged(head), name);
    assert.equal(await judged(`${head}0`), false, name);
  }
});

await story.step('signs what we sign alike', () => {
  for (const { name, lines, signature } of ours.papers) {
    assert.equal(pay.sign([...lines, ''].join('\n')), signature, name);
  }
  for (const { name, method, path, timestamp, nonce, body, signature } of ours.requests) {
    assert.equal(pay.getSignature(method, nonce, timestamp, path, body), signature, name);
  }
});

await story.step('accepts our notifications', async () => {
  Pay.certificates = {
    [ours.network_key_id]: ours.network_key, [ours.network_serial]: ours.network_public_key,
  };
  for (const { name, headers, body, resource } of ours.notices) {
    assert.ok(await signed({ headers, body }), name);
    assert.deepEqual(opened(body, ours.apiv3_key).resource, resource, name);
    assert.equal(await signed({ headers, body: `${body} ` }), false, name);
  }
});

await story.end();
