// Clocks that tests move. Nothing grows old by itself.

export class FakeClock {
  #monotonic = 1_000_000;
  // The middleware that the guard stands behind in one test looks at the real time.
  #wall = Date.now();

  monotonic = () => this.#monotonic;
  wall = () => this.#wall;

  /** Time passes. */
  pass(ms) {
    this.#monotonic += ms;
    this.#wall += ms;
  }

  /** The machine sleeps: only the wall clock notices. */
  sleep(ms) {
    this.#wall += ms;
  }

  /** Somebody sets the wall clock. */
  setWall(ms) {
    this.#wall = ms;
  }

  get seconds() {
    return Math.floor(this.#wall / 1000);
  }
}
