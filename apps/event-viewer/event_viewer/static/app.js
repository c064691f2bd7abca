const list = document.getElementById("list");
const { events } = await (await fetch("/api/events")).json();
for (const { event } of events) {
  const line = document.createElement("p");
  line.textContent = `${event.type} ${event.id} ${JSON.stringify(event.data)}`;
  list.append(line);
}
