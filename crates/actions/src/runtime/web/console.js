'use strict';
// The console: lines for the execution's log.
const counts = new Map();
const starts = new Map();
let indent = '';

function write(level, values) {
  const text = require('node/util').formatWithOptions({ depth: 4 }, ...values);
  host.log(level, indent ? text.replaceAll(/^/gm, indent) : text);
}

/** A failure that nobody can catch any more, as Node prints it. */
function report(error) { write('error', ['Uncaught', error]); }

const console = {
  log(...values) { write('log', values); },
  info(...values) { write('info', values); },
  debug(...values) { write('debug', values); },
  warn(...values) { write('warn', values); },
  error(...values) { write('error', values); },
  dir(value) { write('log', [value]); },
  dirxml(...values) { write('log', values); },
  table(value) { write('log', [value]); },
  trace(...values) {
    const stack = `${new Error('').stack}`.split('\n').filter((line) => !line.includes('curfew:')).join('\n');
    write('debug', [`Trace: ${require('node/util').format(...values)}\n${stack}`]);
  },
  assert(condition, ...values) { if (!condition) write('error', ['Assertion failed', ...values]); },
  group(...values) { if (values.length > 0) write('log', values); indent += '  '; },
  groupCollapsed(...values) { console.group(...values); },
  groupEnd() { indent = indent.slice(2); },
  count(label = 'default') {
    counts.set(label, (counts.get(label) ?? 0) + 1);
    write('log', [`${label}: ${counts.get(label)}`]);
  },
  countReset(label = 'default') { counts.delete(label); },
  time(label = 'default') { starts.set(label, host.elapsed()); },
  timeLog(label = 'default', ...values) { write('log', [`${label}: ${(host.elapsed() - starts.get(label)).toFixed(3)}ms`, ...values]); },
  timeEnd(label = 'default') {
    if (!starts.has(label)) return;
    console.timeLog(label);
    starts.delete(label);
  },
  clear() {},
};

require('globals').eachTime(() => {
  counts.clear();
  starts.clear();
  indent = '';
});

module.exports = { console, report };
