'use strict';
// The Action's `require`.

const { apply } = Reflect;
const cache = { __proto__: null };

function dirname(path) {
  const slash = path.lastIndexOf('/');
  return slash < 0 ? '.' : path.slice(0, slash);
}

function notFound(specifier) {
  const error = new Error(`Cannot find module '${specifier}'`);
  error.code = 'MODULE_NOT_FOUND';
  return error;
}

/** Loads a file, or `actions:NAME`, once. */
function load(path) {
  if (cache[path] !== undefined) return cache[path].exports;
  const module = { id: path, filename: path, exports: {}, loaded: false, children: [], paths: [] };
  const kind = host.kind(path);
  if (kind === undefined) throw notFound(path);
  cache[path] = module;
  try {
    if (kind === 'json') module.exports = host.json(path);
    else if (kind === 'module') module.exports = host.import(path);
    else apply(host.load(path), module.exports, [module.exports, requireOf(path), module, path, dirname(path)]);
  } catch (error) {
    delete cache[path];
    throw error;
  }
  module.loaded = true;
  return module.exports;
}

function requireOf(from) {
  function require(specifier) {
    if (typeof specifier !== 'string') {
      throw new TypeError('The "id" argument must be of type string.');
    }
    const path = specifier.startsWith('actions:') ? specifier : host.resolve(from, specifier);
    if (path === undefined) throw notFound(specifier);
    return load(path);
  }
  return require;
}

host.setRequire(load);

exports.main = () => load('action.js');
