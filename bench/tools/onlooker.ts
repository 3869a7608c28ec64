/**
 * Looks at a weft as a browser and Prometheus do: follows the events of `weft dash`, and reads the
 * metrics each 5 s.
 *
 *   node onlooker.js ADDRESS-OF-THE-PAGE ADDRESS-OF-THE-METRICS
 */
import http from 'node:http';
import process from 'node:process';

const SCRAPE_MS = 5_000;
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
setInterval(() => http.get(metrics, swallow), SCRAPE_MS);
http.get(metrics, swallow);
