/** `weft up` whose lanes stand still on a packet with a mark: see standing-lane.ts. */
import { main } from '../../../src/cli/up.js';

await main(
  process.argv.slice(2),
  new URL('../../dataplane/forward/standing-lane.js', import.meta.url),
);
