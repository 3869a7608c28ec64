/** What keeps a lane of standing-lane.ts, as `ping -p` takes it. */
export const SPINS = 'feedc0de5b1e5b1e';
/** As SPINS, in what network/tools/traffic.ts sends: bytes that count up, further than a ping's. */
export const COUNTS = '4041424344454647';
export const BLOCKS = 'feedc0deb10cb10c';
