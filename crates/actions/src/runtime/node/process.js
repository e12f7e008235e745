'use strict';
// Node's `process`, as far as packages look at it: an environment without variables, on a machine without a name.
const { unsupported } = require('web/errors');
const EventEmitter = require('node/events');

const VERSION = '22.12.0';

const process = Object.create(EventEmitter.prototype);
EventEmitter.call(process);
const refuse = (name) => () => { throw unsupported(`process.${name}`); };

Object.assign(process, {
  title: 'node', version: `v${VERSION}`,
  versions: { node: VERSION, v8: '0.0.0', uv: '0.0.0', modules: '127' },
  release: { name: 'node', lts: 'Jod' },
  arch: 'x64', platform: 'linux', env: {}, argv: ['node', 'action.js'], argv0: 'node', execArgv: [], execPath: '/node', pid: 1, ppid: 0,
  exitCode: undefined, features: {}, config: { variables: {} }, allowedNodeEnvironmentFlags: new Set(),
  cwd: () => '/', umask: () => 0o22, uptime: () => host.elapsed() / 1000,
  hrtime(since) {
    const now = host.elapsed();
    const seconds = Math.floor(now / 1000);
    const nanos = Math.floor(now % 1000 * 1e6);
    if (!since) return [seconds, nanos];
    const rest = nanos - since[1];
    return rest < 0 ? [seconds - since[0] - 1, rest + 1e9] : [seconds - since[0], rest];
  },
  nextTick(callback, ...values) {
    if (typeof callback !== 'function') throw require('web/errors').coded(TypeError, 'ERR_INVALID_ARG_TYPE', 'The "callback" argument must be of type function');
    queueMicrotask(() => callback(...values));
  },
  emitWarning(warning) { require('web/console').console.warn(warning instanceof Error ? warning : `Warning: ${warning}`); },
  memoryUsage: () => ({ rss: 0, heapTotal: 0, heapUsed: 0, external: 0, arrayBuffers: 0 }),
  cpuUsage: () => ({ user: Math.trunc(host.elapsed() * 1000), system: 0 }),
  getuid: () => 65534, geteuid: () => 65534, getgid: () => 65534, getegid: () => 65534,
  exit: refuse('exit'), abort: refuse('abort'), kill: refuse('kill'), chdir: refuse('chdir'), binding: refuse('binding'), dlopen: refuse('dlopen'),
  getBuiltinModule: (name) => require('loader').builtin(name),
});
process.hrtime.bigint = () => BigInt(Math.trunc(host.elapsed() * 1e6));
// A terminal's streams: what is written to them is a line of the console.
for (const [name, level] of [['stdout', 'log'], ['stderr', 'error']]) {
  process[name] = Object.assign(new EventEmitter(), {
    isTTY: false, writable: true, fd: name === 'stdout' ? 1 : 2, columns: 80,
    write(text) { require('web/console').console[level](`${text}`.replace(/\n$/, '')); return true; },
    end() {},
    getColorDepth: () => 1,
    hasColors: () => false,
  });
}
Object.defineProperty(process, Symbol.toStringTag, { value: 'process', configurable: true });
module.exports = process;
