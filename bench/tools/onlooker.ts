/**
 * Looks at a weft as a browser and Prometheus do: follows the events of `weft dash`, and reads the
 * metrics each second, more often than Prometheus asks. It may be stopped for a while: no connection is kept
 * for the metrics, which the other end would give up meanwhile.
 *
 *   node onlooker.js ADDRESS-OF-THE-PAGE ADDRESS-OF-THE-METRICS
 */
import http from 'node:http';
import process from 'node:process';

const SCRAPE_MS = 1_000;
const [page = '', metrics = ''] = process.argv.slice(2);
const { origin, searchParams } = new URL(page);

const swallow = (response: http.IncomingMessage): void => {
  if (response.statusCode !== 200) throw new Error(`the answer was ${response.statusCode}`);
  response.resume();
};
http.get(
  `${origin}/events`,
  { headers: { cookie: `weft-dash=${searchParams.get('token')}` } },
  (response) => {
    swallow(response);
    response.once('data', () => console.log('looking'));
  },
);
const scrape = () => http.get(metrics, { agent: false }, swallow);
setInterval(scrape, SCRAPE_MS);
scrape();
