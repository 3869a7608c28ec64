/**
 * `npm run bench`: runs one program of the bench.
 *
 *   npm run bench -- [side-by-side] …     systems side by side; what runs when none is named
 *   npm run bench -- micro …              the data plane's own code
 *   npm run bench -- join …               how fast a host follows the network
 *   npm run bench -- leases …             how it bears thousands of leases
 *   npm run bench -- upkeep …             what looking after a large host costs
 *   npm run bench -- start …              how fast a host joins, beside flanneld's record
 *   npm run bench -- memory …             a weft with many peers under load
 *   npm run bench -- slow-peer …          pings beside a flood to a peer whose way is slow
 *   npm run bench -- paths …              10 MB over paths that are smaller, change or are silent
 *   npm run bench -- hostile …            a stream beside hostile datagrams
 *   npm run bench -- quiet-lane …         collections and deoptimisations of a lane
 *   npm run bench -- look …               what it costs to look, up to a capture at both ends
 */
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const PROGRAMS = [
  'side-by-side',
  'micro',
  'join',
  'leases',
  'upkeep',
  'start',
  'memory',
  'slow-peer',
  'paths',
  'hostile',
  'quiet-lane',
  'look',
];

const word = process.argv[2];
const named = word !== undefined && !word.startsWith('-');
const program = named ? word : PROGRAMS[0]!;
if (!PROGRAMS.includes(program)) {
  console.error(`the bench has no ${program}; there are ${PROGRAMS.join(', ')}`);
  process.exit(2);
}
// As if it had been started itself: a lab runs its script again.
const file = fileURLToPath(new URL(`./${program}.js`, import.meta.url));
process.argv.splice(1, named ? 2 : 1, file);
try {
  await import(file);
} catch (error) {
  const { code = '', message } = error as NodeJS.ErrnoException;
  if (!code.startsWith('ERR_PARSE_ARGS')) throw error;
  const why = message.split('. To specify')[0]!;
  console.error(`bench ${program}: ${why}; bench/README.md has what there is`);
  process.exit(2);
}
