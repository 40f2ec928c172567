/** Text as content or attribute of XML. */
export function xmlText(text: string): string {
  return text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
}

/** A value as launchd's property lists have it (plist(5), DTD PropertyList-1.0): strings, whole numbers, booleans, lists and dictionaries. */
export type PlistValue = string | number | boolean | readonly PlistValue[] | { readonly [key: string]: PlistValue };

export function plist(value: PlistValue): string {
  return `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
${element(value, "")}
</plist>
`;
}

function element(value: PlistValue, indent: string): string {
  if (typeof value === "string") return `${indent}<string>${xmlText(value)}</string>`;
  if (typeof value === "number") return `${indent}<integer>${Math.trunc(value)}</integer>`;
  if (typeof value === "boolean") return `${indent}<${value}/>`;
  const deeper = `${indent}  `;
  if (isList(value))
    return `${indent}<array>\n${value.map((each) => `${element(each, deeper)}\n`).join("")}${indent}</array>`;
  const entries = Object.entries(value)
    .map(([key, each]) => `${deeper}<key>${xmlText(key)}</key>\n${element(each, deeper)}\n`)
    .join("");
  return `${indent}<dict>\n${entries}${indent}</dict>`;
}

function isList(value: PlistValue): value is readonly PlistValue[] {
  return Array.isArray(value);
}
