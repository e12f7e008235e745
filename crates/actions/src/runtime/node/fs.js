'use strict';
// Node's `fs`: an Action has no files. What looks whether one is there finds nothing; what reads or writes is refused.
const { coded } = require('web/errors');

function missing(call, path) {
  return Object.assign(coded(Error, 'ENOENT', `ENOENT: no such file or directory, ${call} '${path}'. Actions have no file system`), { errno: -2, syscall: call, path });
}
function refused(call, path) {
  return Object.assign(coded(Error, 'EACCES', `EACCES: permission denied, ${call} '${path}'. Actions have no file system`), { errno: -13, syscall: call, path });
}

const reading = ['access', 'lstat', 'open', 'opendir', 'readFile', 'readdir', 'readlink', 'realpath', 'stat', 'statfs', 'watchFile'];
const writing = ['appendFile', 'chmod', 'chown', 'copyFile', 'cp', 'link', 'mkdir', 'mkdtemp', 'rename', 'rm', 'rmdir', 'symlink', 'truncate', 'unlink', 'utimes', 'writeFile'];

const fs = { constants: { F_OK: 0, R_OK: 4, W_OK: 2, X_OK: 1, O_RDONLY: 0, O_WRONLY: 1, O_RDWR: 2 }, promises: {} };
fs.F_OK = 0; fs.R_OK = 4; fs.W_OK = 2; fs.X_OK = 1;
for (const [names, error] of [[reading, missing], [writing, refused]]) {
  for (const name of names) {
    fs[`${name}Sync`] = (path, options) => {
      if (name === 'stat' || name === 'lstat') if (options?.throwIfNoEntry === false) return undefined;
      throw error(name, path);
    };
    fs[name] = (path, ...values) => {
      const callback = values.at(-1);
      if (typeof callback !== 'function') throw coded(TypeError, 'ERR_INVALID_ARG_TYPE', 'The "cb" argument must be of type function');
      queueMicrotask(() => callback(error(name, path)));
    };
    fs.promises[name] = async (path) => { throw error(name, path); };
  }
}
fs.promises.constants = fs.constants;
fs.existsSync = () => false;
fs.exists = (_path, callback) => { queueMicrotask(() => callback(false)); };
for (const name of ['createReadStream', 'createWriteStream']) {
  fs[name] = (path) => { throw (name === 'createReadStream' ? missing : refused)('open', path); };
}
fs.watch = (path) => { throw refused('watch', path); };
for (const name of ['ReadStream', 'WriteStream', 'Stats', 'Dirent', 'FileHandle']) fs[name] = class { constructor() { throw refused('open', name); } };

module.exports = fs;
