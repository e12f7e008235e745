'use strict';
// The Action's `require`: built-in modules, Actions modules, and the files of its packages, ECMAScript modules among them.
const { coded } = require('web/errors');
const { apply } = Reflect;

/** Modules of Node's that are there. What they lack says so when it is called. */
const builtins = new Set([
  'assert', 'assert/strict', 'async_hooks', 'buffer', 'console', 'constants', 'crypto', 'diagnostics_channel', 'dns', 'dns/promises', 'events', 'fs',
  'fs/promises', 'http', 'http2', 'https', 'module', 'net', 'os', 'path', 'path/posix', 'perf_hooks', 'process', 'punycode', 'querystring', 'stream',
  'stream/consumers', 'stream/promises', 'stream/web', 'string_decoder', 'sys', 'timers', 'timers/promises', 'tls', 'tty', 'url', 'util', 'util/types', 'zlib',
]);
/** Those that cannot be there, where an Action runs. */
const absent = new Set([
  'child_process', 'cluster', 'dgram', 'domain', 'inspector', 'inspector/promises', 'path/win32', 'readline', 'readline/promises', 'repl', 'sea', 'sqlite',
  'test', 'test/reporters', 'trace_events', 'v8', 'vm', 'wasi', 'worker_threads',
]);
const elsewhere = { __proto__: null, console: () => require('web/console').console, sys: () => require('node/util') };

const isBuiltin = (name) => {
  const plain = name.startsWith('node:') ? name.slice(5) : name;
  return builtins.has(plain) || absent.has(plain);
};

function builtin(name) {
  const plain = name.startsWith('node:') ? name.slice(5) : name;
  if (builtins.has(plain)) return elsewhere[plain]?.() ?? require(`node/${plain}`);
  if (absent.has(plain)) throw coded(Error, 'ERR_FEATURE_UNAVAILABLE', `The built-in module '${plain}' is not available in Actions`);
  throw coded(Error, 'ERR_UNKNOWN_BUILTIN_MODULE', `No such built-in module: ${plain}`);
}

const cache = { __proto__: null };

function dirname(path) {
  const slash = path.lastIndexOf('/');
  return slash < 0 ? '.' : path.slice(0, slash);
}

function notFound(specifier, from) {
  const error = coded(Error, 'MODULE_NOT_FOUND', `Cannot find module '${specifier}'`);
  error.requireStack = [from];
  return error;
}

/** An ECMAScript module as `require` gives it in Node 22: its namespace, marked where it has a default export. */
function namespace(path) {
  const names = host.import(path);
  if ('module.exports' in names) return names['module.exports'];
  if (!('default' in names) || '__esModule' in names) return names;
  const marked = { __proto__: null };
  for (const name of Object.keys(names)) Object.defineProperty(marked, name, { enumerable: true, get: () => names[name] });
  Object.defineProperty(marked, '__esModule', { value: true, enumerable: true });
  Object.defineProperty(marked, Symbol.toStringTag, { value: 'Module' });
  return marked;
}

/** Loads what `resolve` answered, once. */
function load(path) {
  if (path.startsWith('node:')) return builtin(path);
  const known = cache[path];
  if (known !== undefined) return known.exports;
  const kind = host.kind(path);
  if (kind === undefined) throw notFound(path, '');
  const module = { id: path, path: dirname(path), filename: path, exports: {}, loaded: false, children: [], paths: [], parent: undefined };
  const own = requireOf(path);
  Object.defineProperty(module, 'require', { value: own, configurable: true, writable: true });
  cache[path] = module;
  try {
    if (kind === 'json') module.exports = host.json(path);
    else if (kind === 'module') module.exports = namespace(path);
    else apply(host.load(path), module.exports, [module.exports, own, module, path, module.path]);
  } catch (error) {
    delete cache[path];
    throw error;
  }
  module.loaded = true;
  return module.exports;
}

function requireOf(from) {
  const resolve = (specifier) => {
    if (typeof specifier !== 'string') throw coded(TypeError, 'ERR_INVALID_ARG_TYPE', 'The "id" argument must be of type string');
    if (specifier === '') throw coded(TypeError, 'ERR_INVALID_ARG_VALUE', "The argument 'id' must be a non-empty string");
    if (specifier.startsWith('node:') || specifier.startsWith('actions:')) return specifier;
    if (isBuiltin(specifier)) return `node:${specifier}`;
    const path = host.resolve(from, specifier);
    if (path === undefined) throw notFound(specifier, from);
    return path;
  };
  const required = function require(specifier) { return load(resolve(specifier)); };
  required.resolve = (specifier) => {
    const path = resolve(specifier);
    return path.startsWith('node:') && !`${specifier}`.startsWith('node:') ? specifier : path;
  };
  required.resolve.paths = () => null;
  required.cache = cache;
  required.extensions = { __proto__: null };
  required.main = cache['action.js'];
  return required;
}

host.setRequire(load);

exports.main = () => load('action.js');
exports.builtin = builtin;
exports.builtins = builtins;
exports.isBuiltin = isBuiltin;
exports.createRequire = requireOf;
