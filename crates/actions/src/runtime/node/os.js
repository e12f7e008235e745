'use strict';
// Node's `os`: the answers that any machine could give.
module.exports = {
  EOL: '\n', devNull: '/dev/null',
  arch: () => 'x64', platform: () => 'linux', type: () => 'Linux', release: () => '0.0.0', version: () => '', machine: () => 'x86_64',
  hostname: () => 'localhost', homedir: () => '/', tmpdir: () => '/tmp', endianness: () => 'LE',
  cpus: () => [], availableParallelism: () => 1, totalmem: () => 0, freemem: () => 0, loadavg: () => [0, 0, 0], uptime: () => 0,
  networkInterfaces: () => ({}),
  userInfo: () => ({ uid: 65534, gid: 65534, username: 'nobody', homedir: '/', shell: null }),
  constants: { signals: {}, errno: {}, priority: {}, dlopen: {} },
};
