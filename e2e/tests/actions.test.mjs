// `auth0` 7, ManagementClient: Actions as Auth0's own client makes, builds, deploys and binds them.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startCurfew } from '../lib/curfew.mjs';
import { onEachEngine } from '../lib/engines.mjs';

const CODE = 'exports.onExecutePostLogin = async (event, api) => {};';
const HIDDEN = 'what-only-the-Action-may-know';

/** The Action, when it is built. */
async function built(actions, id) {
  const deadline = Date.now() + 60_000;
  for (;;) {
    const action = await actions.get(id);
    if (action.status === 'built') return action;
    assert.ok(Date.now() < deadline && action.status !== 'failed', JSON.stringify(action));
    await new Promise((resolve) => { setTimeout(resolve, 20); });
  }
}

async function all(page) {
  const items = [];
  for await (const item of await page) items.push(item);
  return items;
}

const refused = (status) => (error) => {
  assert.equal(error.statusCode, status, error.message);
  return true;
};

onEachEngine('auth0 ManagementClient, Actions', (engine) => {
  let curfew;
  let actions;
  before(async () => {
    curfew = await startCurfew(engine);
    actions = curfew.management.actions;
  });
  after(() => curfew?.stop());

  const create = (name, more = {}) => actions.create({
    name, supported_triggers: [{ id: 'post-login', version: 'v3' }], code: CODE, ...more,
  });

  test('are made, built, deployed, bound and gone back to', async () => {
    const made = await create('notify', { secrets: [{ name: 'TOKEN', value: HIDDEN }], runtime: 'node22' });
    assert.equal(made.all_changes_deployed, false);
    assert.deepEqual(made.secrets.map(({ name }) => name), ['TOKEN']);
    await built(actions, made.id);
    const first = await actions.deploy(made.id);
    assert.deepEqual([first.number, first.deployed, first.status], [1, true, 'built']);
    assert.equal((await actions.get(made.id)).deployed_version.id, first.id);

    const { bindings } = await actions.triggers.bindings.updateMany('post-login', {
      bindings: [{ ref: { type: 'action_id', value: made.id }, display_name: 'Notify' }],
    });
    assert.deepEqual(bindings.map(({ display_name, action }) => [display_name, action.id]), [['Notify', made.id]]);
    assert.deepEqual((await all(actions.triggers.bindings.list('post-login'))).map(({ id }) => id), [bindings[0].id]);

    const changed = await actions.update(made.id, { code: '// two', secrets: [{ name: 'TOKEN', value: 'another' }] });
    assert.equal(changed.all_changes_deployed, false);
    await built(actions, made.id);
    assert.equal((await actions.deploy(made.id)).number, 2);
    const versions = await all(actions.versions.list(made.id, { per_page: 1 }));
    assert.deepEqual(versions.map(({ number, deployed }) => [number, deployed]), [[2, true], [1, false]]);
    assert.equal((await actions.versions.get(made.id, first.id)).code, CODE);
    const back = await actions.versions.deploy(made.id, first.id, { update_draft: true });
    assert.deepEqual([back.number, back.code], [3, CODE]);
    assert.equal((await actions.get(made.id)).code, CODE);
    await actions.versions.deploy(made.id, first.id);
    assert.ok(!JSON.stringify([made, changed, versions, back, bindings]).includes(HIDDEN));

    await assert.rejects(() => actions.delete(made.id), refused(400));
    await actions.triggers.bindings.updateMany('post-login', { bindings: [] });
    await actions.delete(made.id);
    await assert.rejects(() => actions.get(made.id), (error) => {
      assert.deepEqual([error.statusCode, error.body.message], [404, 'That action does not exist.']);
      return true;
    });
  });

  test('are listed and filtered', async () => {
    for (const name of ['one', 'two', 'three']) await create(name);
    const listed = await all(actions.list({ per_page: 2, triggerId: 'post-login' }));
    assert.deepEqual(listed.map(({ name }) => name), ['one', 'two', 'three']);
    assert.deepEqual((await all(actions.list({ actionName: 'two' }))).map(({ name }) => name), ['two']);
    assert.deepEqual(await all(actions.list({ deployed: true })), []);
    for (const { id } of listed) await actions.delete(id, { force: true });
  });

  test('have triggers, and executions that can be asked for', async () => {
    const { triggers } = await actions.triggers.list();
    assert.deepEqual(triggers.map(({ id, status }) => [id, status])[0], ['post-login', 'CURRENT']);
    assert.equal(triggers.length, 5);
    await assert.rejects(() => actions.executions.get('nothing'), (error) => {
      assert.deepEqual([error.statusCode, error.body.message], [404, 'That execution does not exist.']);
      return true;
    });
  });

  test('share modules', async () => {
    const module = await actions.modules.create({ name: 'shared', code: 'exports.one = 1;' });
    const version = await actions.modules.versions.create(module.id);
    assert.equal(version.version_number, 1);
    const using = await create('using', { modules: [{ module_id: module.id, module_version_id: version.id }], deploy: true });
    const deployed = await built(actions, using.id);
    assert.equal(deployed.deployed_version.modules[0].module_name, 'shared');
    assert.deepEqual((await all(actions.modules.listActions(module.id))).map(({ action_name }) => action_name), ['using']);
    assert.equal((await actions.modules.update(module.id, { code: 'exports.one = 2;' })).all_changes_published, false);
    assert.equal((await actions.modules.rollback(module.id, { module_version_id: version.id })).code, 'exports.one = 1;');
    assert.deepEqual((await all(actions.modules.versions.list(module.id))).map(({ id }) => id), [version.id]);
    assert.equal((await actions.modules.versions.get(module.id, version.id)).code, 'exports.one = 1;');
    assert.deepEqual((await all(actions.modules.list())).map(({ name }) => name), ['shared']);
    assert.equal((await actions.modules.get(module.id)).actions_using_module_total, 1);
    await assert.rejects(() => actions.modules.delete(module.id), refused(412));
    await actions.delete(using.id);
    await actions.modules.delete(module.id);
  });
});
