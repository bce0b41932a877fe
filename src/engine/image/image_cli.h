/* skiff image load|pull|ls|rm|tag: over the engine's Docker API socket, or, when no engine runs, on
 * its data root directly. */
#pragma once
int image_cli_main(int argc, char **argv);
