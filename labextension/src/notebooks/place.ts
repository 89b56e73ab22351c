/** How many folders above a notebook are tried as the server's root. */
const MOST = 12;

/** The last part of a path, which may come from any system. */
export function fileName(path: string): string {
  return path.split(/[/\\]/).filter(Boolean).pop() ?? path;
}

/** A path with one kind of separator, and without a drive. */
function slashed(path: string): string {
  return path.replace(/\\/g, '/').replace(/^[A-Za-z]:(?=\/)/, '');
}

/**
 * Where a notebook may lie below the server's root, the likeliest first.
 *
 * A trace keeps the path that the kernel knew: that of the file system, on which only the server knows its root. A path
 * in the server's root is certain; without one, the end of the path is as long as possible.
 *
 * @param notebook - as a trace keeps it
 * @param root - the server's root as the page knows it; '' if it does not, and it may begin with ~
 */
export function places(notebook: string, root: string): string[] {
  const path = slashed(notebook).replace(/\/+/g, '/');
  const parts = path.split('/').filter(part => part !== '' && part !== '.');
  if (!parts.length || parts.includes('..')) {
    return [];
  }
  const inside = below(path, slashed(root));
  if (inside) {
    return [inside];
  }
  const ends = parts.map((_, at) => parts.slice(at).join('/'));
  return ends.slice(-MOST);
}

/** The part of a path below a root; '' where it is not known to lie there. */
function below(path: string, root: string): string {
  const base = root.replace(/\/+$/, '');
  if (!path.startsWith('/') || !root || base.startsWith('~')) {
    return '';
  }
  return path.startsWith(`${base}/`) ? path.slice(base.length + 1) : '';
}

/** Whether a path of the server may be the notebook that a trace names: its whole path, or the end of it. */
export function isSame(notebook: string, path: string): boolean {
  const named = slashed(notebook);
  return path !== '' && (named === path || named.endsWith(`/${path}`));
}
