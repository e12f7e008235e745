'use strict';
// Node's `dns`: names are looked up by the server, when a request is sent.
const { unsupported } = require('web/errors');
const names = ['lookup', 'lookupService', 'resolve', 'resolve4', 'resolve6', 'resolveCname', 'resolveMx', 'resolveNs', 'resolveSrv', 'resolveTxt', 'reverse'];
const dns = { promises: {}, ADDRCONFIG: 1024, V4MAPPED: 2048, setDefaultResultOrder() {}, getDefaultResultOrder: () => 'verbatim', setServers() {}, getServers: () => [] };
for (const name of names) {
  const refuse = () => { throw unsupported(`dns.${name}`); };
  dns[name] = refuse;
  dns.promises[name] = async () => refuse();
}
module.exports = dns;
