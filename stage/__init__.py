"""Where motion meets the avatar, live and offline alike."""
