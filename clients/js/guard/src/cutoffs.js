// What has ended and can still matter, in memory: one look-up for each way in which a token can have ended.

const isText = (value) => typeof value === 'string' && value !== '';
const isNumber = (value) => Number.isSafeInteger(value);
const or = (is) => (value) => value === null || is(value);

/** The members of each kind, after its name and before `until`. What is not exactly so is not understood. */
const SHAPES = new Map(Object.entries({
  user: [isText, isNumber],
  user_sessions: [isText, isNumber, or(isText)],
  user_families: [isText, isNumber],
  user_client: [isText, isText, isNumber],
  session: [isText],
  session_expired: [isText],
  grant: [isText],
  client: [isText, or(isNumber)],
  client_users: [isText, isNumber],
  users: [isNumber],
  audience: [isText, isNumber],
  signing_key: [isText],
}));

const ALIVE = Object.freeze({ verdict: 'alive' });
const ENDED = Object.freeze({ verdict: 'ended' });

const BUCKET_SECONDS = 60;

/** A member that a token does not have never matches. */
const below = (counter, floor) => floor !== undefined && typeof counter === 'number' && counter < floor.number;

/** A user's key has no space in it. */
const pair = (user, client) => `${user} ${client}`;

const untilOf = (held) => (typeof held === 'number' ? held : held.until);

export class Cutoffs {
  #audience;
  // Each maps an identifier to `until`, or to `{number, until}` where a counter decides.
  #users = new Map();
  #userSessions = new Map();
  #userFamilies = new Map();
  #userClients = new Map();
  #sessions = new Map();
  #sessionsExpired = new Map();
  #grants = new Map();
  #clients = new Map();
  #clientUsers = new Map();
  #everybody = new Map();
  #audiences = new Map();
  #signingKeys = new Map();
  #all = [
    this.#users, this.#userSessions, this.#userFamilies, this.#userClients, this.#sessions,
    this.#sessionsExpired, this.#grants, this.#clients, this.#clientUsers, this.#everybody, this.#audiences,
    this.#signingKeys,
  ];
  /** What is due when: the minute to `[map, key, map, key, …]`. */
  #due = new Map();
  #sweptMinute = -Infinity;
  #droppedThrough = -Infinity;

  /** `audience` is the API's identifier: cutoffs of other APIs are not kept. */
  constructor(audience) {
    this.#audience = audience;
  }

  /** How many are held. */
  get size() {
    let size = 0;
    for (const map of this.#all) size += map.size;
    return size;
  }

  /**
   * The latest `until` of what was dropped. Of a token that expires later nothing was forgotten; of another
   * one something may have been, if it counts as alive because the clock was set back.
   */
  get droppedThrough() {
    return this.#droppedThrough;
  }

  /** Takes one up; false when it is not understood, after which this is no view of anything. */
  add(cutoff) {
    if (!Array.isArray(cutoff)) return false;
    const [kind, ...members] = cutoff;
    const until = members.pop();
    const shape = SHAPES.get(kind);
    if (!shape || shape.length !== members.length || !isNumber(until)) return false;
    if (!shape.every((is, at) => is(members[at]))) return false;
    this.#take(kind, members, until);
    return true;
  }

  #take(kind, [first, second, third], until) {
    switch (kind) {
      case 'user': return this.#raise(this.#users, first, second, until);
      case 'user_sessions': return this.#raise(this.#userSessions, first, second, until, third);
      case 'user_families': return this.#raise(this.#userFamilies, first, second, until);
      case 'user_client': return this.#raise(this.#userClients, pair(first, second), third, until);
      case 'session': return this.#keep(this.#sessions, first, until);
      case 'session_expired': return this.#keep(this.#sessionsExpired, first, until);
      case 'grant': return this.#keep(this.#grants, first, until);
      // Without a number it ends every token of the client, also one without a counter.
      case 'client': return this.#raise(this.#clients, first, second ?? Infinity, until);
      case 'client_users': return this.#raise(this.#clientUsers, first, second, until);
      case 'users': return this.#raise(this.#everybody, '', first, until);
      case 'audience': return first === this.#audience ? this.#raise(this.#audiences, first, second, until) : undefined;
      default: return this.#keep(this.#signingKeys, first, until);
    }
  }

  /** Of several for the same thing the larger number counts, and the later `until`. */
  #raise(map, key, number, until, spared) {
    const held = map.get(key);
    if (!held) {
      map.set(key, { number, until, spared });
      this.#remember(map, key, until);
      return;
    }
    if (number > held.number) {
      held.number = number;
      held.spared = spared;
    }
    if (until > held.until) {
      held.until = until;
      this.#remember(map, key, until);
    }
  }

  #keep(map, key, until) {
    const held = map.get(key);
    if (held !== undefined && held >= until) return;
    map.set(key, until);
    this.#remember(map, key, until);
  }

  #remember(map, key, until) {
    const minute = Math.ceil(until / BUCKET_SECONDS);
    const bucket = this.#due.get(minute);
    if (bucket) bucket.push(map, key);
    else this.#due.set(minute, [map, key]);
  }

  /**
   * Drops what no living token can concern at `second`, at most `most` at a time, so that no request waits
   * for a long sweep; the next call goes on.
   */
  expire(second, most = 10_000) {
    const minute = Math.floor(second / BUCKET_SECONDS);
    if (minute <= this.#sweptMinute) return;
    let left = most;
    for (const [due, bucket] of this.#due) {
      if (due > minute) continue;
      for (; bucket.length > 0 && left > 0; left -= 1) {
        const key = bucket.pop();
        const map = bucket.pop();
        const held = map.get(key);
        // It may have been prolonged, and then stands in another bucket as well.
        if (held === undefined || untilOf(held) > second) continue;
        this.#droppedThrough = Math.max(this.#droppedThrough, untilOf(held));
        map.delete(key);
      }
      if (left === 0) return;
      this.#due.delete(due);
    }
    this.#sweptMinute = minute;
  }

  /**
   * What these say of a token: `alive`, `ended`, or `ask`. With `ask` come the `reasons`, which are the same
   * text only as long as nothing new makes the guard ask about this token.
   */
  judge(claims, kid) {
    const { u, n, c, g } = claims.cfw ?? {};
    const { sid, iat } = claims;
    if (this.#signingKeys.has(kid) || this.#sessions.has(sid) || this.#grants.has(g)) return ENDED;
    const deleted = this.#audiences.get(this.#audience);
    if (deleted && iat <= deleted.number) return ENDED;
    const reasons = [];
    if (this.#sessionsExpired.has(sid)) {
      // A refresh token may stand behind it, and that outlives its session.
      if (g === undefined) return ENDED;
      reasons.push('session_expired');
    }
    for (const client of clientsOf(claims)) {
      const floor = this.#clients.get(client);
      if (floor?.number === Infinity || below(c, floor)) return ENDED;
      if (u === undefined) continue;
      if (below(c, this.#clientUsers.get(client))) return ENDED;
      if (below(n, this.#userClients.get(pair(u, client)))) return ENDED;
    }
    if (u === undefined) return reasons.length > 0 ? { verdict: 'ask', reasons: reasons.join() } : ALIVE;
    if (below(n, this.#users.get(u))) return ENDED;
    const sessions = this.#userSessions.get(u);
    if (below(n, sessions)) {
      if (sid === undefined) reasons.push(`user_sessions ${sessions.number}`);
      else if (sid !== sessions.spared) return ENDED;
    }
    const everybody = this.#everybody.get('');
    if (everybody && iat <= everybody.number) reasons.push(`users ${everybody.number}`);
    const families = this.#userFamilies.get(u);
    if (below(n, families)) reasons.push(`user_families ${families.number}`);
    return reasons.length > 0 ? { verdict: 'ask', reasons: reasons.join() } : ALIVE;
  }
}

function clientsOf({ azp, client_id }) {
  if (azp === undefined) return client_id === undefined ? [] : [client_id];
  return client_id === undefined || client_id === azp ? [azp] : [azp, client_id];
}
