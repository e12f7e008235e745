'use strict';
// Node's `path`, as on Linux.
function check(path, what = 'path') {
  if (typeof path !== 'string') {
    throw require('web/errors').coded(TypeError, 'ERR_INVALID_ARG_TYPE', `The "${what}" argument must be of type string. Received ${path === null ? 'null' : typeof path}`);
  }
  return path;
}

function resolveParts(path, absolute) {
  const out = [];
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue;
    if (part === '..') {
      if (out.length > 0 && out.at(-1) !== '..') out.pop();
      else if (!absolute) out.push('..');
    } else {
      out.push(part);
    }
  }
  return out.join('/');
}

function normalize(path) {
  if (check(path) === '') return '.';
  const absolute = path.startsWith('/');
  let text = resolveParts(path, absolute);
  if (text === '' && !absolute) text = '.';
  if (text !== '' && path.endsWith('/')) text += '/';
  return absolute ? `/${text}` : text;
}
function join(...parts) {
  const whole = parts.map((part) => check(part)).filter((part) => part !== '').join('/');
  return whole === '' ? '.' : normalize(whole);
}
function resolve(...parts) {
  let whole = '';
  for (let at = parts.length - 1; at >= -1 && !whole.startsWith('/'); at -= 1) {
    const part = at < 0 ? '/' : check(parts[at]);
    if (part !== '') whole = whole === '' ? part : `${part}/${whole}`;
  }
  return `/${resolveParts(whole, true)}`;
}
const isAbsolute = (path) => check(path).startsWith('/');
function relative(from, to) {
  const own = resolve(from).split('/').filter(Boolean);
  const other = resolve(to).split('/').filter(Boolean);
  let same = 0;
  while (same < own.length && same < other.length && own[same] === other[same]) same += 1;
  return [...own.slice(same).map(() => '..'), ...other.slice(same)].join('/');
}
function dirname(path) {
  const text = check(path).replace(/\/+$/, (end) => (end.length === path.length ? '/' : ''));
  const at = text.lastIndexOf('/');
  if (at < 0) return '.';
  return at === 0 ? '/' : text.slice(0, at).replace(/(?!^)\/+$/, '');
}
function basename(path, suffix) {
  const text = check(path).replace(/\/+$/, '');
  const base = text.slice(text.lastIndexOf('/') + 1);
  return suffix && base !== suffix && base.endsWith(suffix) ? base.slice(0, -suffix.length) : base;
}
function extname(path) {
  const base = basename(path);
  const at = base.lastIndexOf('.');
  return at <= 0 || base === '..' ? '' : base.slice(at);
}
function parse(path) {
  const base = basename(path);
  const ext = extname(path);
  const root = check(path).startsWith('/') ? '/' : '';
  const dir = path.includes('/') ? dirname(path) : '';
  return { root, dir, base, ext, name: ext ? base.slice(0, -ext.length) : base };
}
function format({ root = '', dir, base, name = '', ext = '' }) {
  const file = base ?? `${name}${ext && !ext.startsWith('.') ? '.' : ''}${ext}`;
  if (!dir) return `${root}${file}`;
  return dir === root ? `${dir}${file}` : `${dir}/${file}`;
}

const path = {
  sep: '/', delimiter: ':', normalize, join, resolve, isAbsolute, relative, dirname, basename, extname, parse, format,
  toNamespacedPath: (name) => name,
  matchesGlob() { throw require('web/errors').unsupported('path.matchesGlob'); },
};
path.posix = path;
Object.defineProperty(path, 'win32', { get() { throw require('web/errors').unsupported('path.win32'); }, enumerable: false });
module.exports = path;
