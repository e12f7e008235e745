'use strict';
// Node's `diagnostics_channel`.
const channels = new Map();

class Channel {
  #subscribers = [];
  constructor(name) { this.name = name; }
  get hasSubscribers() { return this.#subscribers.length > 0; }
  subscribe(subscriber) { this.#subscribers = [...this.#subscribers, subscriber]; }
  unsubscribe(subscriber) {
    const before = this.#subscribers.length;
    this.#subscribers = this.#subscribers.filter((own) => own !== subscriber);
    return this.#subscribers.length < before;
  }
  publish(message) { for (const subscriber of this.#subscribers) subscriber(message, this.name); }
}

function channel(name) {
  if (!channels.has(name)) channels.set(name, new Channel(name));
  return channels.get(name);
}

module.exports = {
  Channel, channel,
  hasSubscribers: (name) => channels.get(name)?.hasSubscribers ?? false,
  subscribe: (name, subscriber) => channel(name).subscribe(subscriber),
  unsubscribe: (name, subscriber) => channel(name).unsubscribe(subscriber),
  tracingChannel() { throw require('web/errors').unsupported('diagnostics_channel.tracingChannel'); },
};
