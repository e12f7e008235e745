'use strict';
// `event` and `api` of one execution. What `api` is asked becomes a command, in order: `{"type":"access.deny","args":[…]}`,
// which the server judges after the Action. README.md lists them.
const builders = {
  __proto__: null,
  'post-login': 'api/post-login',
  'credentials-exchange': 'api/credentials-exchange',
  'pre-user-registration': 'api/pre-user-registration',
  'post-user-registration': 'api/post-user-registration',
  'post-change-password': 'api/post-change-password',
};
const { stringify } = JSON;

/** The execution under way: the `api` of one that is over commands nothing any more. */
let current;

exports.build = function build(record) {
  const own = {};
  current = own;
  const { event } = record;
  event.secrets = record.secrets;
  event.configuration ??= {};
  const command = (type, ...args) => {
    if (current !== own) throw new Error(`api.${type}: the execution that this api belongs to is over`);
    host.record(stringify({ type, args }));
  };
  const name = builders[record.trigger];
  if (name === undefined) throw new Error(`The trigger ${record.trigger} has no api`);
  return { event, api: require(name).build({ event, command }) };
};
