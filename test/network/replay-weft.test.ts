import { testReplay } from './replays.js';

await testReplay('weft');
