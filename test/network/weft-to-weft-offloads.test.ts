import { testPair } from './pairs.js';

await testPair(['weft', 'weft'], true);
