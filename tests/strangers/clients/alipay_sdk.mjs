// npm alipay-sdk, Alipay's own, at the sandbox: key and certificate mode.

import * as story from './story.mjs';
import assert from 'node:assert/strict';
import { inflateRawSync } from 'node:zlib';
import { AlipaySdk } from 'alipay-sdk';

const SUBJECT = '测试商品 A+B/1 100%';
const { account, ours, mode, today, far } = story.case;

const merchant = {
  appId: account.app_id, privateKey: ours.private_key, keyType: 'PKCS8', gateway: account.gateway_url,
};
const keys = mode === 'cert'
  ? {
    appCertContent: account.app_cert,
    alipayPublicCertContent: account.alipay_cert,
    alipayRootCertContent: account.alipay_root_cert,
  }
  : { alipayPublicKey: account.alipay_public_key };
const client = new AlipaySdk({ ...merchant, ...keys });
const verifier = (alipayPublicKey) => new AlipaySdk({ ...merchant, alipayPublicKey });

const ask = (method, bizContent, more = {}) => (
  client.exec(method, { ...more, bizContent }, { validateSign: true })
);
const order = (number, amount = '19.99') => ({
  out_trade_no: number, total_amount: amount, subject: SUBJECT,
});
const place = (number, more) => ask('alipay.trade.precreate', order(number), more);
const query = (number) => ask('alipay.trade.query', { out_trade_no: number });

const paid = story.number('PAID');
const refund = story.number('REFUND');

/** The texts of a zip's entries. */
function unzipped(zip) {
  const end = zip.lastIndexOf(Buffer.from('PK\x05\x06', 'latin1'));
  const texts = [];
  let at = zip.readUInt32LE(end + 16);
  for (let left = zip.readUInt16LE(end + 10); left > 0; left -= 1) {
    const local = zip.readUInt32LE(at + 42);
    const start = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28);
    const packed = zip.subarray(start, start + zip.readUInt32LE(at + 20));
    texts.push(new TextDecoder('gbk').decode(inflateRawSync(packed)));
    at += 46 + zip.readUInt16LE(at + 28) + zip.readUInt16LE(at + 30) + zip.readUInt16LE(at + 32);
  }
  return texts;
}

await story.begin(200, 'success');

await story.step('places an order', async () => {
  const made = await place(paid, { notify_url: story.address('paid') });
  assert.equal(made.code, '10000');
  assert.ok(made.qrCode.startsWith(`${far}/qr/`), made.qrCode);
});

await story.step('sees it unpaid', async () => {
  assert.equal((await query(paid)).subCode, 'ACQ.TRADE_NOT_EXIST');
  await story.control(`trades/${paid}/open`);
  assert.equal((await query(paid)).tradeStatus, 'WAIT_BUYER_PAY');
});

await story.step('hears of the payment', async () => {
  await story.control(`trades/${paid}/pay`);
  const fields = story.fieldsOf((await story.heard('paid'))[0].body);
  assert.ok(client.checkNotifySignV2(fields));
  assert.deepEqual(
    [fields.out_trade_no, fields.trade_status, fields.total_amount, fields.subject, fields.app_id],
    [paid, 'TRADE_SUCCESS', '19.99', SUBJECT, account.app_id],
  );
});

await story.step('rejects a tampered notification', async () => {
  const fields = story.fieldsOf((await story.heard('paid'))[0].body);
  for (const name of ['total_amount', 'out_trade_no', 'trade_status', 'app_id']) {
    assert.equal(client.checkNotifySignV2({ ...fields, [name]: `${fields[name]}0` }), false, name);
  }
  assert.equal(client.checkNotifySignV2({ ...fields, refund_fee: '1.00' }), false);
});

await story.step('rejects a forged notification', async () => {
  const forged = story.number('FORGED');
  await place(forged, { notify_url: story.address('forged') });
  for (const [count, kind] of ['bad_signature', 'other_key'].entries()) {
    await story.control(`trades/${forged}/forge`, { kind });
    const mail = (await story.heard('forged', count + 1)).at(-1);
    assert.equal(client.checkNotifySignV2(story.fieldsOf(mail.body)), false, kind);
  }
});

await story.step('sees it paid', async () => {
  const node = await query(paid);
  assert.deepEqual([node.tradeStatus, node.totalAmount], ['TRADE_SUCCESS', '19.99']);
});

await story.step('refunds', async () => {
  const biz = { out_trade_no: paid, out_request_no: refund, refund_amount: '5.00' };
  const first = await ask('alipay.trade.refund', biz);
  assert.deepEqual([first.fundChange, first.refundFee], ['Y', '5.00']);
  const again = await ask('alipay.trade.refund', biz);
  assert.deepEqual([again.fundChange, again.refundFee], ['N', '5.00']);
});

await story.step('sees the refund', async () => {
  const biz = { out_trade_no: paid, out_request_no: refund };
  const node = await ask('alipay.trade.fastpay.refund.query', biz);
  assert.deepEqual([node.refundStatus, node.refundAmount], ['REFUND_SUCCESS', '5.00']);
});

await story.step('hears of the refund', async () => {
  const fields = story.fieldsOf((await story.heard('paid', 2))[1].body);
  assert.ok(client.checkNotifySignV2(fields));
  assert.deepEqual([fields.out_biz_no, fields.refund_fee], [refund, '5.00']);
});

await story.step('closes', async () => {
  const closed = story.number('CLOSED');
  await place(closed);
  await story.control(`trades/${closed}/open`);
  assert.equal((await ask('alipay.trade.close', { out_trade_no: closed })).code, '10000');
  assert.equal((await query(closed)).tradeStatus, 'TRADE_CLOSED');
});

await story.step('sends a browser to the cashier and reads its return', async () => {
  const number = story.number('PAGE');
  const page = client.pageExecute('alipay.trade.page.pay', 'GET', {
    return_url: story.address('back'),
    bizContent: { ...order(number, '8.88'), product_code: 'FAST_INSTANT_TRADE_PAY' },
  });
  const back = story.fieldsOf(new URL(await story.approve(page)).search);
  assert.equal(back.out_trade_no, number);
  assert.ok(client.checkNotifySignV2(back));
  assert.equal(client.checkNotifySignV2({ ...back, total_amount: '0.01' }), false);
});

await story.step('hands an app its order', async () => {
  const bizContent = { ...order(story.number('APP'), '8.88'), product_code: 'QUICK_MSECURITY_PAY' };
  const text = client.sdkExecute('alipay.trade.app.pay', { bizContent });
  const done = await story.control('alipay/sdk_pay', { order_string: text });
  assert.equal(done.resultStatus, '9000', done.memo);
});

await story.step('reads the bill', async () => {
  const biz = { bill_type: 'trade', bill_date: today };
  const node = await ask('alipay.data.dataservice.bill.downloadurl.query', biz);
  const file = await fetch(node.billDownloadUrl);
  const lines = unzipped(Buffer.from(await file.arrayBuffer())).join('').split('\r\n');
  const rows = lines.filter((line) => line.includes(`${paid}\t`)).map((line) => line.split(','));
  assert.deepEqual(rows.map((row) => row[11]), ['19.99', '-5.00']);
});

await story.step('refuses a forged answer', async () => {
  await story.control('levers', { name: 'forge_answer' });
  await assert.rejects(query(paid), /验签失败/);
});

await story.step('accepts our signatures', () => {
  const judge = verifier(ours.public_key);
  for (const { name, params } of ours.requests) {
    assert.ok(judge.checkNotifySignV2(params), name);
    assert.equal(judge.checkNotifySignV2({ ...params, method: 'alipay.trade.cancel' }), false, name);
  }
});

await story.step('signs what we sign alike', () => {
  for (const { name, params } of ours.requests) {
    const { sign, biz_content: biz, app_id: appId, ...rest } = params;
    // In certificate mode our own certificates are others than the account's at the sandbox.
    const signer = new AlipaySdk({ ...merchant, appId });
    const text = signer.sdkExecute(params.method, { ...rest, bizContent: JSON.parse(biz) });
    assert.deepEqual(story.fieldsOf(text), params, name);
  }
});

await story.step('accepts our notifications', () => {
  const reader = verifier(ours.network_key);
  for (const { name, body } of ours.notices) {
    const fields = story.fieldsOf(body);
    assert.ok(reader.checkNotifySignV2(fields), name);
    assert.equal(reader.checkNotifySignV2({ ...fields, total_amount: '0.01' }), false, name);
  }
});

await story.end();
