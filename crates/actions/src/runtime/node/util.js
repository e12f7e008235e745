'use strict';
// Node's `util`: inspect and format for the console and for messages, inherits, promisify, types.
const { coded, unsupported } = require('web/errors');

const custom = Symbol.for('nodejs.util.inspect.custom');
const promisified = Symbol.for('nodejs.util.promisify.custom');
const identifier = /^[A-Za-z_$][\w$]*$/;
const LINE = 76;

function quote(text) {
  const mark = !text.includes("'") ? "'" : !text.includes('"') ? '"' : !text.includes('`') ? '`' : "'";
  const escaped = text.replace(/[\\\x00-\x1F\x7F]/g, (character) => {
    switch (character) {
      case '\n': return '\\n';
      case '\r': return '\\r';
      case '\t': return '\\t';
      case '\\': return '\\\\';
      default: return `\\x${character.charCodeAt(0).toString(16).padStart(2, '0').toUpperCase()}`;
    }
  });
  return `${mark}${escaped.replaceAll(mark, `\\${mark}`)}${mark}`;
}

function primitive(value, top) {
  if (typeof value === 'string') return quote(value.length > 10000 ? `${value.slice(0, 10000)}... ${value.length - 10000} more characters` : value);
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'symbol') return value.toString();
  if (Object.is(value, -0)) return '-0';
  return top ?? String(value);
}

function nameOf(value) {
  for (let proto = Object.getPrototypeOf(value); proto !== null; proto = Object.getPrototypeOf(proto)) {
    const maker = Object.getOwnPropertyDescriptor(proto, 'constructor')?.value;
    if (typeof maker === 'function' && maker.name) return maker.name;
  }
  return null;
}

function frames(error) {
  const lines = `${error.stack ?? ''}`.split('\n').filter((line) => !line.includes('curfew:'));
  const text = lines.join('\n').trimEnd();
  let head = `${error.name}: ${error.message}`;
  try { head = Error.prototype.toString.call(error); } catch { /* A message may be anything. */ }
  return text.startsWith(head) ? text : text ? `${head}\n${text}` : head;
}

function inspect(value, options, depthOrNothing) {
  const given = typeof options === 'object' && options !== null ? options : { showHidden: options, depth: depthOrNothing };
  const context = { depth: given.depth === undefined ? 2 : given.depth ?? Infinity, seen: [], options: given, items: given.maxArrayLength ?? 100 };
  if (context.depth === null) context.depth = Infinity;
  return show(value, context, 0);
}

function show(value, context, level) {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return primitive(value);
  const own = context.options.customInspect === false ? undefined : value[custom];
  if (typeof own === 'function' && own !== inspect) {
    const result = own.call(value, context.depth - level, { ...context.options }, inspect);
    return typeof result === 'string' ? result : show(result, context, level);
  }
  if (context.seen.includes(value)) return '[Circular *1]';
  context.seen.push(value);
  try { return composed(value, context, level); } finally { context.seen.pop(); }
}

function composed(value, context, level) {
  const { isBuffer } = require('node/buffer').Buffer;
  const name = nameOf(value);
  const tag = value[Symbol.toStringTag];
  const labelled = (plain) => {
    const base = name === null ? `[${plain}: null prototype]` : name;
    const extra = typeof tag === 'string' && tag !== '' && tag !== name ? ` [${tag}]` : '';
    return base === plain && !extra ? '' : `${base}${extra} `;
  };
  const deep = level > context.depth;
  const next = (held) => show(held, context, level + 1);
  const entries = [];
  let keys = Object.keys(value);
  let [open, close] = ['{', '}'];
  let head = '';
  const more = (length) => { if (length > context.items) entries.push(`... ${length - context.items} more item${length - context.items > 1 ? 's' : ''}`); };

  if (Array.isArray(value)) {
    [open, close] = ['[', ']'];
    head = name === 'Array' ? '' : `${name}(${value.length}) `;
    if (deep) return '[Array]';
    for (let at = 0; at < Math.min(value.length, context.items); at += 1) entries.push(at in value ? next(value[at]) : '<empty item>');
    more(value.length);
    keys = keys.filter((key) => !/^\d+$/.test(key));
  } else if (typeof value === 'function') {
    const kind = /^class\b/.test(Function.prototype.toString.call(value)) ? 'class' : name ?? 'Function';
    head = kind === 'class' ? `[class ${value.name || '(anonymous)'}]` : `[${kind}${value.name ? `: ${value.name}` : ' (anonymous)'}]`;
    if (keys.length === 0) return head;
    head += ' ';
  } else if (value instanceof Error) {
    const text = frames(value);
    keys = keys.filter((key) => key !== 'stack' && key !== 'message');
    head = level > 0 ? text.replaceAll('\n', `\n${' '.repeat(level * 2)}`) : text;
    if ('cause' in value && !keys.includes('cause')) keys.push('cause');
    if (value instanceof AggregateError) keys.push('errors');
    if (keys.length === 0) return level > 0 ? `[${head}]` : head;
    head += ' ';
  } else if (value instanceof Date) {
    head = Number.isNaN(value.getTime()) ? 'Invalid Date' : value.toISOString();
    if (keys.length === 0) return head;
    head += ' ';
  } else if (value instanceof RegExp) {
    head = String(value);
    if (keys.length === 0) return head;
    head += ' ';
  } else if (isBuffer(value)) {
    const shown = value.toString('hex', 0, 50).replace(/(..)(?=.)/g, '$1 ');
    return `<Buffer ${shown}${value.length > 50 ? ` ... ${value.length - 50} more bytes` : ''}>`;
  } else if (ArrayBuffer.isView(value) && !(value instanceof DataView)) {
    [open, close] = ['[', ']'];
    head = `${name}(${value.length}) `;
    if (deep) return `[${name}]`;
    for (let at = 0; at < Math.min(value.length, context.items); at += 1) entries.push(primitive(value[at]));
    more(value.length);
    keys = [];
  } else if (value instanceof Map) {
    head = `${name}(${value.size}) `;
    if (deep) return `[${name}]`;
    for (const [key, held] of value) entries.push(`${next(key)} => ${next(held)}`);
  } else if (value instanceof Set) {
    head = `${name}(${value.size}) `;
    if (deep) return `[${name}]`;
    for (const held of value) entries.push(next(held));
  } else if (value instanceof Promise) {
    head = 'Promise ';
  } else if (value instanceof Boolean || value instanceof Number || value instanceof String) {
    return `[${name}: ${primitive(value.valueOf())}]`;
  } else if (value instanceof require('web/url').URLSearchParams) {
    head = 'URLSearchParams ';
    for (const [key, held] of value) entries.push(`${quote(key)} => ${quote(held)}`);
  } else if (value instanceof require('web/url').URL) {
    return `URL ${next({ ...publicFields(value, ['href', 'origin', 'protocol', 'host', 'pathname', 'search', 'hash']) })}`;
  } else {
    head = labelled('Object');
    if (deep) return `[${name === null ? 'Object: null prototype' : name}]`;
  }
  for (const key of keys) {
    const label = identifier.test(key) ? key : quote(key);
    entries.push(`${label}: ${member(value, key, next)}`);
  }
  for (const key of Object.getOwnPropertySymbols(value)) {
    if (Object.prototype.propertyIsEnumerable.call(value, key)) entries.push(`[${key.toString()}]: ${member(value, key, next)}`);
  }
  if (entries.length === 0) return `${head}${open}${close}`;
  const length = entries.reduce((sum, entry) => sum + entry.length + 2, head.length + level * 2);
  const compact = context.options.compact ?? true;
  if (context.options.breakLength === Infinity || (compact && length <= LINE && !entries.some((entry) => entry.includes('\n')))) {
    return `${head}${open} ${entries.join(', ')} ${close}`;
  }
  const gap = `\n${' '.repeat((level + 1) * 2)}`;
  return `${head}${open}${gap}${entries.join(`,${gap}`)}\n${' '.repeat(level * 2)}${close}`;
}

const publicFields = (value, names) => Object.fromEntries(names.map((name) => [name, value[name]]));

function member(value, key, next) {
  const property = Object.getOwnPropertyDescriptor(value, key);
  if (property?.get) return property.set ? '[Getter/Setter]' : '[Getter]';
  if (property?.set) return '[Setter]';
  return next(property ? property.value : value[key]);
}

inspect.custom = custom;
inspect.defaultOptions = { depth: 2, maxArrayLength: 100, breakLength: 80, compact: 3 };
inspect.colors = {};
inspect.styles = {};

function formatWithOptions(options, ...values) {
  const [first] = values;
  let text = '';
  let at = 0;
  if (typeof first === 'string') {
    at = 1;
    text = values.length === 1 ? first : first.replace(/%[sdifjoOc%]/g, (mark) => {
      if (mark === '%%') return '%';
      if (at >= values.length) return mark;
      const value = values[at];
      at += 1;
      switch (mark) {
        case '%s': return typeof value === 'object' && value !== null ? inspect(value, { ...options, depth: 0 }) : typeof value === 'string' ? value : primitive(value);
        case '%d': return typeof value === 'bigint' ? `${value}n` : typeof value === 'symbol' ? 'NaN' : String(Number(value));
        case '%i': return typeof value === 'bigint' ? `${value}n` : typeof value === 'symbol' ? 'NaN' : String(Number.parseInt(value, 10));
        case '%f': return typeof value === 'symbol' ? 'NaN' : String(Number.parseFloat(value));
        case '%j': try { return JSON.stringify(value); } catch { return '[Circular]'; }
        case '%c': return '';
        default: return inspect(value, options);
      }
    });
  }
  for (; at < values.length; at += 1) {
    const value = values[at];
    text += `${at > 0 ? ' ' : ''}${typeof value === 'string' ? value : inspect(value, options)}`;
  }
  return text;
}
const format = (...values) => formatWithOptions({}, ...values);

function inherits(constructor, parent) {
  Object.defineProperty(constructor, 'super_', { value: parent, configurable: true, writable: true });
  Object.setPrototypeOf(constructor.prototype, parent.prototype);
}

function promisify(original) {
  if (typeof original !== 'function') throw coded(TypeError, 'ERR_INVALID_ARG_TYPE', 'The "original" argument must be of type function');
  if (typeof original[promisified] === 'function') return original[promisified];
  const wrapped = function (...values) {
    return new Promise((resolve, reject) => {
      original.call(this, ...values, (error, ...results) => (error ? reject(error) : resolve(results[0])));
    });
  };
  Object.setPrototypeOf(wrapped, Object.getPrototypeOf(original));
  return Object.defineProperties(wrapped, Object.getOwnPropertyDescriptors(original));
}
promisify.custom = promisified;

function callbackify(original) {
  return function (...values) {
    const callback = values.pop();
    original.apply(this, values).then(
      (value) => require('node/process').nextTick(callback, null, value),
      (error) => require('node/process').nextTick(callback, error ?? new Error('rejected without a reason')),
    );
  };
}

function deprecate(original) {
  if (typeof original !== 'function') return original;
  const wrapped = function (...values) { return new.target ? Reflect.construct(original, values, new.target) : original.apply(this, values); };
  if (original.prototype) wrapped.prototype = original.prototype;
  Object.setPrototypeOf(wrapped, original);
  return wrapped;
}

const tagOf = (value) => Object.prototype.toString.call(value).slice(8, -1);
const typedTag = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype), Symbol.toStringTag).get;
const typed = (value) => (typeof value === 'object' && value !== null ? typedTag.call(value) : undefined);

const types = {
  isPromise: (value) => value instanceof Promise,
  isRegExp: (value) => value instanceof RegExp,
  isDate: (value) => value instanceof Date,
  isNativeError: (value) => value instanceof Error,
  isMap: (value) => value instanceof Map,
  isSet: (value) => value instanceof Set,
  isWeakMap: (value) => value instanceof WeakMap,
  isWeakSet: (value) => value instanceof WeakSet,
  isArrayBuffer: (value) => value instanceof ArrayBuffer,
  isSharedArrayBuffer: (value) => value instanceof SharedArrayBuffer,
  isAnyArrayBuffer: (value) => value instanceof ArrayBuffer || value instanceof SharedArrayBuffer,
  isArrayBufferView: (value) => ArrayBuffer.isView(value),
  isDataView: (value) => value instanceof DataView,
  isTypedArray: (value) => typed(value) !== undefined,
  isFunction: (value) => typeof value === 'function',
  isAsyncFunction: (value) => typeof value === 'function' && tagOf(value) === 'AsyncFunction',
  isGeneratorFunction: (value) => typeof value === 'function' && tagOf(value).endsWith('GeneratorFunction'),
  isGeneratorObject: (value) => tagOf(value) === 'Generator',
  isArgumentsObject: (value) => tagOf(value) === 'Arguments',
  isBoxedPrimitive: (value) => [Number, String, Boolean, BigInt, Symbol].some((Type) => value instanceof Type),
  isNumberObject: (value) => value instanceof Number,
  isStringObject: (value) => value instanceof String,
  isBooleanObject: (value) => value instanceof Boolean,
  isBigIntObject: (value) => value instanceof BigInt,
  isSymbolObject: (value) => value instanceof Symbol,
  isProxy: () => false,
  isExternal: () => false,
  isModuleNamespaceObject: (value) => tagOf(value) === 'Module',
  isMapIterator: (value) => tagOf(value) === 'Map Iterator',
  isSetIterator: (value) => tagOf(value) === 'Set Iterator',
  isKeyObject: (value) => value instanceof require('node/crypto').KeyObject,
  isCryptoKey: (value) => value instanceof require('web/crypto').CryptoKey,
};
for (const name of ['Uint8Array', 'Uint8ClampedArray', 'Uint16Array', 'Uint32Array', 'Int8Array', 'Int16Array', 'Int32Array', 'Float32Array', 'Float64Array', 'BigInt64Array', 'BigUint64Array']) {
  types[`is${name}`] = (value) => typed(value) === name;
}

function isDeepStrictEqual(one, other) { return require('node/equal').equal(one, other, true); }

function stripVTControlCharacters(text) { return `${text}`.replace(/\x1B\[[0-?]*[ -/]*[@-~]/g, ''); }

function debuglog() {
  const log = () => {};
  log.enabled = false;
  return log;
}

module.exports = {
  inspect, format, formatWithOptions, inherits, promisify, callbackify, deprecate, types, isDeepStrictEqual, stripVTControlCharacters,
  debuglog, debug: debuglog,
  styleText: (_style, text) => `${text}`,
  toUSVString: (text) => `${text}`.toWellFormed(),
  isArray: Array.isArray,
  isBoolean: (value) => typeof value === 'boolean',
  isNull: (value) => value === null,
  isNullOrUndefined: (value) => value === null || value === undefined,
  isNumber: (value) => typeof value === 'number',
  isString: (value) => typeof value === 'string',
  isSymbol: (value) => typeof value === 'symbol',
  isUndefined: (value) => value === undefined,
  isRegExp: types.isRegExp,
  isObject: (value) => typeof value === 'object' && value !== null,
  isDate: types.isDate,
  isError: types.isNativeError,
  isFunction: types.isFunction,
  isPrimitive: (value) => (typeof value !== 'object' && typeof value !== 'function') || value === null,
  isBuffer: (value) => require('node/buffer').Buffer.isBuffer(value),
  parseArgs() { throw unsupported('util.parseArgs'); },
  get TextEncoder() { return require('web/encoding').TextEncoder; },
  get TextDecoder() { return require('web/encoding').TextDecoder; },
  MIMEType: class { constructor() { throw unsupported('util.MIMEType'); } },
  aborted: (signal) => new Promise((resolve) => { signal.addEventListener('abort', () => resolve(), { once: true }); }),
};
