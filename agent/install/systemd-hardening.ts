/** What none of our units needs, whatever it does (systemd.exec(5)): the clock, the kernel's settings, its log, its modules. */
export const PROTECTED = `ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes`;

/** What none of our units makes: namespaces, real-time threads, files that run as another user. */
export const RESTRICTED = `RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes`;
