// The clipboard, and events as commands for it.

/** Copy a text and tell so in `said`. */
export async function copy(text, said, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Browsers give the clipboard to pages from https and localhost only.
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "hidden";
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  said.textContent = `${what} is copied.`;
}

/** A command for a POSIX shell that sends the event (its JSON) to this viewer again. */
export function curl(event) {
  const quoted = `'${event.replaceAll("'", "'\\''")}'`;
  return (
    `curl -i ${location.origin}/ -H 'Content-Type: application/cloudevents+json; charset=utf-8'` +
    ` --data-binary ${quoted}`
  );
}
