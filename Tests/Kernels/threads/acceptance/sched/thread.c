/* What the user's tests of threads ask for is more than there is here. */
