// `auth0` 7, ManagementClient: event streams as Auth0's own client manages them; and `standardwebhooks`, which verifies what
// comes at the webhook.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Webhook, WebhookVerificationError } from 'standardwebhooks';
import { startCurfew } from '../lib/curfew.mjs';
import { onEachEngine } from '../lib/engines.mjs';
import { createUser } from '../lib/setup.mjs';
import { openSite } from '../lib/site.mjs';

const TOKEN = 'what-the-webhook-wants-to-hear';

/** Asks until the answer is `wanted`, for at most ten seconds. */
async function eventually(ask, wanted) {
  const deadline = Date.now() + 10_000;
  for (;;) {
    const answer = await ask();
    if (wanted(answer)) return answer;
    assert.ok(Date.now() < deadline, `still ${JSON.stringify(answer)}`);
    await new Promise((resolve) => { setTimeout(resolve, 20); });
  }
}

/** A site at whose `/events` requests are kept; it answers `site.status`. */
async function openWebhook() {
  const requests = [];
  const site = await openSite('localhost', (request, response) => {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      requests.push({ headers: request.headers, body: Buffer.concat(chunks).toString() });
      response.writeHead(site.status).end();
    });
  });
  site.status = 204;
  site.requests = requests;
  /** The request with the event of this type about this user, whenever it comes. */
  site.told = (type, about = () => true) => eventually(
    () => requests.find(({ body }) => JSON.parse(body).type === type && about(JSON.parse(body))),
    (request) => request !== undefined,
  );
  return site;
}

onEachEngine('auth0 ManagementClient, event streams', (engine) => {
  let curfew;
  let streams;
  let webhook;
  before(async () => {
    [curfew, webhook] = [await startCurfew(engine), await openWebhook()];
    streams = curfew.management.eventStreams;
  });
  after(() => Promise.all([curfew?.stop(), webhook?.close()]));

  const create = (more = {}) => streams.create({
    name: 'crm',
    status: 'enabled',
    subscriptions: [{ event_type: 'user.created' }, { event_type: 'user.updated' }, { event_type: 'ending.created' }],
    destination: {
      type: 'webhook',
      configuration: {
        webhook_endpoint: `${webhook.origin}/events`,
        webhook_authorization: { method: 'bearer', token: TOKEN },
      },
    },
    ...more,
  });

  test('are made, read, changed, listed and deleted', async () => {
    const made = await create({ status: undefined });
    assert.match(made.id, /^est_[0-9A-Za-z]{22}$/);
    assert.match(made.signing_secret, /^whsec_/);
    const { signing_secret: _, ...stream } = made;
    assert.deepEqual(await streams.get(made.id), stream);
    assert.equal(stream.status, 'disabled');
    assert.deepEqual(stream.destination.configuration.webhook_authorization, { method: 'bearer' });
    const changed = await streams.update(made.id, { name: 'mail', subscriptions: [{ event_type: 'organization.created' }] });
    assert.equal(changed.name, 'mail');
    assert.deepEqual(changed.subscriptions, [{ event_type: 'organization.created' }]);
    await create({ status: 'disabled' });
    const seen = [];
    for await (const { id } of await streams.list({ take: 1 })) seen.push(id);
    assert.equal(seen.length, 2);
    for (const id of seen) await streams.delete(id);
    await assert.rejects(() => streams.get(made.id), ({ statusCode, body }) => {
      assert.deepEqual([statusCode, body.message], [404, 'The requested stream does not exist.']);
      return true;
    });
    await assert.rejects(() => create({ destination: { type: 'action', configuration: { action_id: '1' } } }), ({ statusCode }) => statusCode === 400);
  });

  describe('one that is enabled', () => {
    let stream;
    let verifier;
    before(async () => {
      stream = await create();
      verifier = new Webhook(stream.signing_secret);
    });
    after(() => streams.delete(stream.id));

    test('is told of users and of endings, and its receiver can tell who says so', async () => {
      const { user_id, email } = await createUser(curfew);
      const created = await webhook.told('user.created', ({ data }) => data.object.user_id === user_id);
      assert.equal(created.headers.authorization, `Bearer ${TOKEN}`);
      const event = verifier.verify(created.body, created.headers);
      assert.equal(event.data.object.email, email);
      assert.equal(event.specversion, '1.0');
      assert.equal(event.a0stream, stream.id);
      assert.throws(() => verifier.verify(created.body.replace(email, 'eve@example.com'), created.headers), WebhookVerificationError);
      await curfew.management.users.update(user_id, { blocked: true });
      const updated = await webhook.told('user.updated', ({ data }) => data.object.user_id === user_id);
      assert.equal(verifier.verify(updated.body, updated.headers).data.object.blocked, true);
      const ended = await webhook.told('ending.created', ({ data }) => data.object.user_id === user_id);
      assert.equal(verifier.verify(ended.body, ended.headers).data.object.cause, 'user_blocked');
    });

    test('is tested; what fails is listed, shown, and redelivered', async () => {
      webhook.status = 400;
      const tested = await streams.test(stream.id, { event_type: 'user.deleted' });
      assert.equal(tested.event.a0purpose, 'test');
      const failed = await eventually(
        async () => (await streams.deliveries.list(stream.id, { event_types: 'user.deleted', take: 10 })).data,
        (found) => found.length === 1,
      );
      assert.equal(failed[0].id, tested.id);
      const history = await streams.deliveries.getHistory(stream.id, tested.id);
      assert.deepEqual(history, failed[0]);
      assert.deepEqual([history.status, history.attempts.length, history.attempts[0].status], ['failed', 1, 'failed']);
      const again = async (redeliver, attempts) => {
        webhook.status = 400;
        await redeliver();
        return eventually(() => streams.deliveries.getHistory(stream.id, tested.id), (now) => now.attempts.length === attempts && now.status === 'failed');
      };
      await again(() => streams.redeliveries.createById(stream.id, tested.id), 2);
      await again(() => streams.redeliveries.create(stream.id, { event_types: ['user.deleted'], statuses: ['failed'] }), 3);
      webhook.status = 204;
      await streams.redeliveries.create(stream.id, {});
      const delivered = await eventually(() => streams.deliveries.getHistory(stream.id, tested.id), ({ status }) => status === 'delivered');
      assert.equal(delivered.attempts.length, 4);
      const requests = webhook.requests.filter(({ body }) => JSON.parse(body).id === tested.id);
      assert.equal(requests.length, 4);
      for (const { body, headers } of requests) assert.equal(verifier.verify(body, headers).type, 'user.deleted');
      assert.deepEqual((await streams.deliveries.list(stream.id)).data, []);
    });
  });
});
