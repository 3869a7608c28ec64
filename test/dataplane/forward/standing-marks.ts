/** What keeps a lane of standing-lane.ts, as `ping -p` takes it. */
export const SPINS = 'feedc0de5b1e5b1e';
export const BLOCKS = 'feedc0deb10cb10c';
