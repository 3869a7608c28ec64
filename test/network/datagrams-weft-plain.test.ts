import { testDatagrams } from './datagrams.js';

await testDatagrams('weft', false);
