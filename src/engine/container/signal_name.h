/* Signals by the names images and CRI use: "SIGTERM", "TERM", "15", "SIGRTMIN+3", "SIGRTMINPLUS3".
 */
#pragma once
/* fallback when the name says nothing. */
int signal_number(const char *name, int fallback);
