// The two clocks of a machine. Tests hand in their own.

/**
 * `monotonic` never goes back, and may stand still while the machine sleeps. `wall` is the time of day, which
 * somebody may set. Both in milliseconds; `wall` since 1970.
 */
export const systemClock = {
  monotonic: () => performance.now(),
  wall: () => Date.now(),
};

/** Both clocks at one instant. */
export const instant = (clock) => ({ monotonic: clock.monotonic(), wall: clock.wall() });

/** The time of day as tokens and cutoffs count it. */
export const unixSeconds = (clock) => Math.floor(clock.wall() / 1000);
