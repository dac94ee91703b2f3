// npm wechatpay-axios-plugin at the sandbox: public-key and certificate mode.

import * as story from './story.mjs';
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { gunzipSync } from 'node:zlib';
import plugin from 'wechatpay-axios-plugin';

const { Wechatpay, Rsa, Aes, Formatter } = plugin;
const DESCRIPTION = '测试商品 A+B/1 100%';
const { account, ours, mode, today, far } = story.case;

const certs = mode === 'cert'
  ? Object.fromEntries(account.platform_certs.map(({ serial_no, cert }) => [serial_no, cert]))
  : { [account.public_key_id]: account.public_key };
const { v3 } = new Wechatpay({
  mchid: account.mchid,
  serial: account.merchant_serial,
  privateKey: ours.private_key,
  certs,
  baseURL: `${account.api_base}/`,
});
const { mchid, appid } = account;
const paid = story.number('PAID');
const refund = story.number('REFUND');

const place = async (product, number, more = {}) => (await v3.pay.transactions[product].post({
  mchid,
  appid,
  description: DESCRIPTION,
  out_trade_no: number,
  notify_url: story.address('paid'),
  amount: { total: 1999 },
  ...more,
})).data;
const query = async (number) => (
  (await v3.pay.transactions.outTradeNo.$number$.get({ params: { mchid }, number })).data
);

/** A notification as the plugin's manual reads it: time, signature, then the seal. */
function read({ headers, body }, keys = certs, key = account.apiv3_key) {
  const [at, nonce, serial, signature] = ['timestamp', 'nonce', 'serial', 'signature']
    .map((name) => headers[`wechatpay-${name}`]);
  if (Math.abs(Formatter.timestamp() - Number(at)) > 300 || !(serial in keys)) return null;
  const holder = Rsa.from(keys[serial], Rsa.KEY_TYPE_PUBLIC);
  if (!Rsa.verify(Formatter.joinedByLineFeed(at, nonce, body), signature, holder)) return null;
  const { event_type: event, resource } = JSON.parse(body);
  const plain = Aes.AesGcm.decrypt(resource.ciphertext, key, resource.nonce, resource.associated_data);
  return { event, resource: JSON.parse(plain) };
}

await story.begin(204);

await story.step('places an order', async () => {
  assert.match((await place('native', paid)).code_url, /^weixin:\/\/wxpay\/bizpayurl\?pr=/);
});

await story.step('sees it unpaid', async () => {
  assert.equal((await query(paid)).trade_state, 'NOTPAY');
});

await story.step('hears of the payment', async () => {
  await story.control(`trades/${paid}/pay`);
  const { event, resource } = read((await story.heard('paid'))[0]);
  assert.equal(event, 'TRANSACTION.SUCCESS');
  assert.deepEqual(
    [resource.out_trade_no, resource.trade_state, resource.mchid, resource.amount.total],
    [paid, 'SUCCESS', mchid, 1999],
  );
});

await story.step('rejects a tampered notification', async () => {
  const [{ headers, body }] = await story.heard('paid');
  assert.equal(read({ headers, body: body.replace('TRANSACTION', 'TRANSACTI0N') }), null);
  assert.equal(read({ headers: { ...headers, 'wechatpay-nonce': 'another' }, body }), null);
  assert.equal(read({ headers: { ...headers, 'wechatpay-timestamp': '1705284000' }, body }), null);
});

await story.step('rejects a forged notification', async () => {
  const forged = story.number('FORGED');
  await place('native', forged, { notify_url: story.address('forged') });
  const kinds = ['bad_signature', 'other_key', 'signtest', 'stale', 'unknown_serial'];
  for (const [count, kind] of kinds.entries()) {
    await story.control(`trades/${forged}/forge`, { kind });
    assert.equal(read((await story.heard('forged', count + 1)).at(-1)), null, kind);
  }
});

await story.step('sees it paid', async () => {
  const told = await query(paid);
  assert.deepEqual([told.trade_state, told.amount.payer_total], ['SUCCESS', 1999]);
  const { data } = await v3.pay.transactions.id.$id$.get({ params: { mchid }, id: told.transaction_id });
  assert.deepEqual(data, told);
});

await story.step('refunds', async () => {
  const body = {
    out_trade_no: paid,
    out_refund_no: refund,
    reason: '坏了',
    notify_url: story.address('refund'),
    amount: { refund: 500, total: 1999, currency: 'CNY' },
  };
  const { data: made } = await v3.refund.domestic.refunds.post(body);
  assert.deepEqual([made.status, made.amount.refund], ['PROCESSING', 500]);
  const { data: again } = await v3.refund.domestic.refunds.post(body);
  assert.equal(again.refund_id, made.refund_id);
});

await story.step('sees the refund', async () => {
  const { data } = await v3.refund.domestic.refunds.$number$.get({ number: refund });
  assert.deepEqual([data.status, data.amount.refund], ['SUCCESS', 500]);
});

await story.step('hears of the refund', async () => {
  const { event, resource } = read((await story.heard('refund'))[0]);
  assert.equal(event, 'REFUND.SUCCESS');
  assert.deepEqual([resource.out_refund_no, resource.refund_status], [refund, 'SUCCESS']);
});

await story.step('closes', async () => {
  const number = story.number('CLOSED');
  await place('native', number);
  const { status } = await v3.pay.transactions.outTradeNo.$number$.close.post({ mchid }, { number });
  assert.equal(status, 204);
  assert.equal((await query(number)).trade_state, 'CLOSED');
});

await story.step('opens the pay sheet in WeChat', async () => {
  const number = story.number('BRIDGE');
  const { prepay_id: id } = await place('jsapi', number, { payer: { openid: account.openid } });
  const call = {
    appId: appid, timeStamp: `${Formatter.timestamp()}`, nonceStr: Formatter.nonce(), package: `prepay_id=${id}`,
  };
  const paySign = Rsa.sign(Formatter.joinedByLineFeed(...Object.values(call)), ours.private_key);
  const done = await story.control('wechatpay/jsapi_pay', { ...call, signType: 'RSA', paySign });
  assert.deepEqual(done, { err_msg: 'get_brand_wcpay_request:ok', out_trade_no: number });
});

await story.step('hands an app its order', async () => {
  const { prepay_id: prepayid } = await place('app', story.number('APP'));
  const [timestamp, noncestr] = [`${Formatter.timestamp()}`, Formatter.nonce()];
  const text = Formatter.joinedByLineFeed(appid, timestamp, noncestr, prepayid);
  const done = await story.control('wechatpay/sdk_pay', {
    appid,
    partnerid: mchid,
    prepayid,
    package: 'Sign=WXPay',
    noncestr,
    timestamp,
    sign: Rsa.sign(text, ours.private_key),
  });
  assert.equal(done.errCode, 0);
});

await story.step('reads the bill', async () => {
  const { data } = await v3.bill.tradebill.get({ params: { bill_date: today, tar_type: 'GZIP' } });
  assert.ok(data.download_url.startsWith(`${far}/v3/billdownload/file?`), data.download_url);
  const params = story.fieldsOf(new URL(data.download_url).search);
  const file = await v3.billdownload.file.get({ params, responseType: 'arraybuffer' });
  const plain = gunzipSync(file.data);
  assert.equal(createHash(data.hash_type).update(plain).digest('hex'), data.hash_value);
  const { rows } = Formatter.castCsvBill(plain);
  const mine = rows.filter((row) => row['商户订单号'] === paid);
  assert.deepEqual(
    mine.map((row) => [row['交易状态'], row['应结订单金额'], row['退款金额']]),
    [['SUCCESS', '19.99', '0.00'], ['REFUND', '0.00', '5.00']],
  );
});

await story.step('refuses a forged answer', async () => {
  const refusals = {
    bad_signature: 'EV3_RES_HEADER_SIGNATURE_DIGEST',
    other_key: 'EV3_RES_HEADER_SIGNATURE_DIGEST',
    signtest: 'EV3_RES_HEADER_SIGNATURE_DIGEST',
    unsigned: 'EV3_RES_HEADERS_INCOMPLATE',
    stale: 'EV3_RES_HEADER_TIMESTAMP_OFFSET',
    unknown_serial: 'EV3_RES_HEADER_PLATFORM_SERIAL',
  };
  for (const [value, code] of Object.entries(refusals)) {
    await story.control('levers', { name: 'forge_answer', value });
    await assert.rejects(query(paid), { code }, value);
  }
});

await story.step('accepts our signatures', () => {
  for (const { name, method, path, timestamp, nonce, body, signature } of ours.requests) {
    const text = Formatter.request(method, path, timestamp, nonce, body);
    assert.ok(Rsa.verify(text, signature, ours.public_key), name);
    assert.equal(Rsa.verify(`${text}0`, signature, ours.public_key), false, name);
  }
});

await story.step('signs what we sign alike', () => {
  for (const { name, lines, signature } of ours.papers) {
    assert.equal(Rsa.sign(Formatter.joinedByLineFeed(...lines), ours.private_key), signature, name);
  }
  for (const { name, method, path, timestamp, nonce, body, signature } of ours.requests) {
    const text = Formatter.request(method, path, timestamp, nonce, body);
    assert.equal(Rsa.sign(text, ours.private_key), signature, name);
  }
});

await story.step('accepts our notifications', () => {
  const keys = { [ours.network_key_id]: ours.network_key, [ours.network_serial]: ours.network_cert };
  for (const { name, headers, body, resource } of ours.notices) {
    assert.deepEqual(read({ headers, body }, keys, ours.apiv3_key).resource, resource, name);
    assert.equal(read({ headers, body: `${body} ` }, keys, ours.apiv3_key), null, name);
  }
});

await story.end();
