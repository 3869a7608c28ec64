import { testPair } from './pairs.js';

await testPair(['weft', 'kernel'], false);
