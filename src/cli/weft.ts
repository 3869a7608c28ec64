#!/usr/bin/env node
process.stderr.write('weft: not built yet\n');
