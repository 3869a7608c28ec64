/**
 * Looks at a weft as a browser and Prometheus do: follows the events of `weft dash`, and reads the
 * metrics every five seconds, more often than Prometheus usually asks. It may be stopped for a while: no connection is kept
 * for the metrics, which the other end would give up meanwhile.
 *
 *   node onlooker.js ADDRESS-OF-THE-PAGE ADDRESS-OF-THE-METRICS
 */
import http from 'node:http';
import process from 'node:process';

const SCRAPE_MS = 5_000;
const [page = '', metrics = ''] = process.argv.slice(2);

const swallow = (response: http.IncomingMessage): void => {
  if (response.statusCode !== 200) throw new Error(`the answer was ${response.statusCode}`);
  response.resume();
};
// The page's address is answered by a cookie, which its events are asked for with.
http.get(page, (answer) => {
  answer.resume();
  const cookie = answer.headers['set-cookie']?.[0]?.split(';')[0];
  if (cookie === undefined) throw new Error(`${page} gave no cookie: ${answer.statusCode}`);
  http.get(new URL('/events', page), { headers: { cookie } }, (response) => {
    swallow(response);
    response.once('data', () => console.log('looking'));
  });
});
const scrape = () => http.get(metrics, { agent: false }, swallow);
setInterval(scrape, SCRAPE_MS);
scrape();
