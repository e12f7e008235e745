'use strict';
// Node's `url`: the standard's URL, and the old `parse`, `format`, `resolve`.
const { URL, URLSearchParams } = require('web/url');
const { coded } = require('web/errors');

const special = new Set(['http:', 'https:', 'ftp:', 'ws:', 'wss:', 'file:']);

class Url {
  constructor() {
    for (const name of ['protocol', 'slashes', 'auth', 'host', 'port', 'hostname', 'hash', 'search', 'query', 'pathname', 'path', 'href']) this[name] = null;
  }
  parse(text, query, slashes) { return Object.assign(this, parse(text, query, slashes)); }
  format() { return formatParts(this); }
  resolve(to) { return resolve(this.href, to); }
  resolveObject(to) { return parse(resolve(this.href, to)); }
}

function parse(text, parseQuery = false, slashesDenoteHost = false) {
  if (text instanceof Url) return text;
  if (typeof text !== 'string') throw coded(TypeError, 'ERR_INVALID_ARG_TYPE', `The "url" argument must be of type string. Received ${text === null ? 'null' : typeof text}`);
  const url = new Url();
  let rest = text.trim();
  const hash = rest.indexOf('#');
  if (hash >= 0) { url.hash = rest.slice(hash); rest = rest.slice(0, hash); }
  const mark = rest.indexOf('?');
  if (mark >= 0) { url.search = rest.slice(mark); rest = rest.slice(0, mark); }
  const protocol = /^([a-z0-9.+-]+:)/i.exec(rest);
  if (protocol) { url.protocol = protocol[1].toLowerCase(); rest = rest.slice(protocol[1].length); }
  if (special.has(url.protocol)) rest = rest.replaceAll('\\', '/');
  if (rest.startsWith('//') && (protocol || slashesDenoteHost || /^\/\/[^@/]+@[^@/]+/.test(rest))) {
    url.slashes = true;
    const end = rest.indexOf('/', 2);
    let authority = end < 0 ? rest.slice(2) : rest.slice(2, end);
    rest = end < 0 ? '' : rest.slice(end);
    const at = authority.lastIndexOf('@');
    if (at >= 0) {
      try { url.auth = decodeURIComponent(authority.slice(0, at)); } catch { url.auth = authority.slice(0, at); }
      authority = authority.slice(at + 1);
    }
    const port = /:(\d*)$/.exec(authority);
    if (port) { url.port = port[1] || null; authority = authority.slice(0, port.index); }
    if (/[\s<>^`{|}"'\\]/.test(authority)) throw Object.assign(coded(TypeError, 'ERR_INVALID_URL', 'Invalid URL'), { input: text });
    url.hostname = authority.toLowerCase().replace(/^\[|\]$/g, '');
    if (/[^\0-\x7F]/.test(url.hostname)) url.hostname = require('node/punycode').toASCII(url.hostname);
    url.host = `${authority.startsWith('[') ? `[${url.hostname}]` : url.hostname}${url.port ? `:${url.port}` : ''}`;
    if (rest === '' && special.has(url.protocol)) rest = '/';
  }
  url.pathname = rest === '' ? null : rest.replace(/[\s"'<>`{|}\\^]/g, (character) => (character === '\\' ? '%5C' : character === "'" ? '%27' : encodeURIComponent(character)));
  url.query = parseQuery ? require('node/querystring').parse(url.search?.slice(1) ?? '') : url.search?.slice(1) ?? null;
  if (parseQuery && url.search === null) url.search = '';
  url.path = url.pathname === null && !url.search ? null : `${url.pathname ?? ''}${url.search ?? ''}`;
  url.href = formatParts(url);
  return url;
}

function formatParts(parts) {
  let protocol = parts.protocol ?? '';
  if (protocol && !protocol.endsWith(':')) protocol += ':';
  const auth = parts.auth ? `${encodeURIComponent(parts.auth).replace(/%3A/i, ':')}@` : '';
  let host = '';
  if (parts.host) host = auth + parts.host;
  else if (parts.hostname) host = `${auth}${parts.hostname.includes(':') ? `[${parts.hostname}]` : parts.hostname}${parts.port ? `:${parts.port}` : ''}`;
  let search = parts.search ?? '';
  if (!search && typeof parts.query === 'object' && parts.query !== null) {
    const text = require('node/querystring').stringify(parts.query);
    if (text) search = `?${text}`;
  }
  if (search && !search.startsWith('?')) search = `?${search}`;
  let hash = parts.hash ?? '';
  if (hash && !hash.startsWith('#')) hash = `#${hash}`;
  let pathname = (parts.pathname ?? '').replace(/[?#]/g, encodeURIComponent);
  if (parts.slashes || ((!protocol || special.has(protocol)) && host)) {
    host = `//${host}`;
    if (pathname && !pathname.startsWith('/')) pathname = `/${pathname}`;
  }
  return `${protocol}${host}${pathname}${search.replace('#', '%23')}${hash}`;
}

function format(url, options) {
  if (typeof url === 'string') return formatParts(parse(url));
  if (!(url instanceof URL)) return formatParts(url);
  const copy = new URL(url);
  if (options?.fragment === false) copy.hash = '';
  if (options?.search === false) copy.search = '';
  if (options?.auth === false) { copy.username = ''; copy.password = ''; }
  return copy.href;
}

function resolve(from, to) {
  // Against a host that nobody has, where `from` has none.
  const base = new URL(from, 'resolve://host/');
  const url = new URL(to, base);
  if (url.protocol !== 'resolve:') return url.href;
  const text = `${url.pathname}${url.search}${url.hash}`;
  return from.startsWith('/') || to.startsWith('/') ? text : text.slice(1);
}

function urlToHttpOptions(url) {
  const options = {
    protocol: url.protocol, hostname: url.hostname.replace(/^\[|\]$/g, ''), hash: url.hash, search: url.search, pathname: url.pathname,
    path: `${url.pathname}${url.search}`, href: url.href,
  };
  if (url.port !== '') options.port = Number(url.port);
  if (url.username || url.password) options.auth = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  return options;
}

module.exports = {
  URL, URLSearchParams, Url, parse, format, resolve, urlToHttpOptions,
  resolveObject: (from, to) => parse(resolve(from, to)),
  domainToASCII: (domain) => { try { return new URL(`ws://${domain}`).hostname; } catch { return ''; } },
  domainToUnicode: (domain) => require('node/punycode').toUnicode(domain),
  fileURLToPath(url) {
    const file = typeof url === 'string' ? new URL(url) : url;
    if (file.protocol !== 'file:') throw coded(TypeError, 'ERR_INVALID_URL_SCHEME', 'The URL must be of scheme file');
    return decodeURIComponent(file.pathname);
  },
  pathToFileURL: (path) => new URL(`file://${require('node/path').resolve(path).split('/').map(encodeURIComponent).join('/')}`),
};
