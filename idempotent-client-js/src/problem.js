/**
 * The `code` of a problem document (RFC 9457).
 *
 * @param {string | null | undefined} contentType
 * @param {string | undefined} text the body; `undefined` if it was not read
 * @returns {string | null | undefined} `null` if there is a problem document that cannot be read,
 *   `undefined` if there is none, or one without a code
 */
export function problemCode(contentType, text) {
  if (!/^application\/problem\+json\b/i.test(contentType ?? '')) return undefined;
  try {
    const { code } = JSON.parse(text ?? '');
    return typeof code === 'string' ? code : undefined;
  } catch {
    return null;
  }
}
