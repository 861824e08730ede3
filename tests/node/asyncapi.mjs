// node asyncapi.mjs FILE...: parses AsyncAPI documents, and prints what the parser says as JSON, for each of them a list.
import { readFile } from 'node:fs/promises';

import { DiagnosticSeverity, Parser } from '@asyncapi/parser';

const parser = new Parser();
const told = [];
for (const file of process.argv.slice(2)) {
  const { document, diagnostics } = await parser.parse(await readFile(file, 'utf8'), { source: file });
  const said = diagnostics.map(({ code, message, path, range, severity }) => ({
    severity: DiagnosticSeverity[severity].toLowerCase(),
    code,
    message,
    path: path.join('.'),
    line: range.start.line + 1,
  }));
  if (document === undefined) {
    said.push({ severity: 'error', code: 'refused', message: 'there is no document', path: '', line: 0 });
  }
  told.push(said);
}
process.stdout.write(`${JSON.stringify(told, null, 2)}\n`);
