// Notifications of this device, for who asked for them.
import type { MessageEvent } from "@grima/sdk";
import type { App, Chat } from "./app.svelte.ts";
import { plain } from "./markdown.ts";
import { t } from "./strings.ts";
import { settings } from "./settings.svelte.ts";

/** Tells of a message that came: to ears if its chat is looked at, else by the system. */
export function notifyOf(app: App, ev: MessageEvent): void {
  const m = ev.message;
  const self = app.self?.user_id;
  if (m.sender_id === self || m.deleted || !app.synced) return;
  if (app.looking && ev.chatId === app.chatId) {
    app.live(app.name(m.sender_id), m.content ?? "");
    return;
  }
  if (!settings.notify || app.looking || !("Notification" in window) || Notification.permission !== "granted") return;
  if (app.client && !app.client.leader) return; // one tab is enough
  const chat = ev.state as Chat;
  const mentioned = m.mention_all || (self !== undefined && m.mentions?.includes(self));
  const level = chat.notify ?? "all";
  if (level === "none" || (level === "mentions" && !mentioned)) return;
  if (m.seq <= chat.read_seq) return;
  const who = app.name(m.sender_id);
  const title = chat.kind === "private" ? who : mentioned ? t.notify.mention(who, app.chatName(chat)) : t.notify.message(who, app.chatName(chat));
  let note: Notification;
  try {
    note = new Notification(title, { body: plain(m.content ?? "", 200), tag: ev.chatId, icon: "/icon-192.png" });
  } catch {
    return; // Chrome on Android has notifications for service workers only
  }
  note.onclick = () => {
    window.focus();
    app.open(ev.chatId);
    note.close();
  };
}
