// node asyncapi.mjs FILE: parses an AsyncAPI document, prints what the parser says about it as JSON, and exits with 1 when
// any of that is an error.
import { readFile } from 'node:fs/promises';

import { DiagnosticSeverity, Parser } from '@asyncapi/parser';

const [, , file] = process.argv;
const { document, diagnostics } = await new Parser().parse(await readFile(file, 'utf8'), { source: file });
const told = diagnostics.map(({ code, message, path, range, severity }) => ({
  severity: DiagnosticSeverity[severity].toLowerCase(),
  code,
  message,
  path: path.join('.'),
  line: range.start.line + 1,
}));
process.stdout.write(`${JSON.stringify(told, null, 2)}\n`);
process.exitCode = document === undefined || told.some(({ severity }) => severity === 'error') ? 1 : 0;
