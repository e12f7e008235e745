'use strict';
// `event` and `api` of each trigger.

const { stringify } = JSON;

function recorder(type) {
  return (...args) => host.record(stringify({ type, args }));
}

exports.build = function build(record) {
  const event = record.event;
  event.secrets = record.secrets;
  const api = {
    access: { deny: recorder('access.deny') },
    user: { setAppMetadata: recorder('user.setAppMetadata'), setUserMetadata: recorder('user.setUserMetadata') },
    cache: {
      get: (key) => host.cache('get', key),
      set: (key, value, options) => host.cache('set', key, value, options?.ttl, options?.expires_at),
      delete: (key) => host.cache('delete', key),
    },
  };
  return { event, api };
};
