/** Writes results, formatted like everything else in the repository, where the newest ones are kept. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';

/** Contents by file name. Where the folder is '' nothing is kept. */
export const writeResults = async (
  folder: string,
  files: Readonly<Record<string, string>>,
): Promise<void> => {
  if (folder === '') return;
  mkdirSync(folder, { recursive: true });
  for (const [name, text] of Object.entries(files)) {
    const filepath = join(folder, name);
    const isFormatted = !name.endsWith('.svg');
    writeFileSync(
      filepath,
      isFormatted ? await format(text, { ...(await resolveConfig(filepath)), filepath }) : text,
    );
  }
};
