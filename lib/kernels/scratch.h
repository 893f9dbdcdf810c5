// Working memory of the calling thread for packed panels: allocated once, kept for the next task, freed when the thread
// ends.
#pragma once
#include <cstddef>

namespace qz {

// At least `floats` floats, 64-byte aligned, contents undefined; null when there is no memory. The next call on the
// same thread takes it back: one user at a time, never across a call that may use it too.
float* thread_scratch(size_t floats);
// A second place of the calling thread, for what it shares with the tasks that it starts.
float* shared_scratch(size_t floats);
// Bytes that the calling thread keeps in the second place.
size_t kept_shared_scratch();

}  // namespace qz
