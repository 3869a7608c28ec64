import { testDatagrams } from './datagrams.js';

await testDatagrams('kernel', false);
