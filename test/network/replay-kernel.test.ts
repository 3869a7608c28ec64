import { testReplay } from './replays.js';

await testReplay('kernel');
